//! An instance on the wire.

use std::collections::BTreeMap;

use seats::{Instance, ProviderKind, Status};
use serde::Serialize;
use utoipa::ToSchema;

/// How far a seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Status)]
pub(crate) enum StatusName {
    /// It is being made, or its workspace does not answer yet.
    Starting,
    /// Its workspace answers.
    Running,
    /// It was stopped on purpose and keeps its data.
    Stopped,
    /// It cannot serve a learner; `reason` says why and what to do.
    Error,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Starting => Self::Starting,
            Status::Running => Self::Running,
            Status::Stopped => Self::Stopped,
            Status::Error => Self::Error,
        }
    }
}

/// What runs seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Provider)]
pub(crate) enum ProviderName {
    /// Containers on a Docker engine.
    Docker,
    /// MicroVMs, each with a kernel of its own.
    Microvm,
    /// Simulated seats in the service's own memory.
    Sim,
}

impl From<ProviderKind> for ProviderName {
    fn from(kind: ProviderKind) -> Self {
        match kind {
            ProviderKind::Docker => Self::Docker,
            ProviderKind::Microvm => Self::Microvm,
            ProviderKind::Sim => Self::Sim,
        }
    }
}

/// What runs for a seat right now. Every member is always there; what is not known is null.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub(crate) struct InstanceBody {
    /// The provider's own id (for Docker the container's id); null while nothing has been made yet.
    #[schema(required)]
    id: Option<String>,
    /// The workshop.
    #[schema(examples("rust-101"))]
    workshop: String,
    /// The seat.
    #[schema(minimum = 1, maximum = 9999, examples(1))]
    seat: u16,
    /// Its address on the workshop's network.
    #[schema(required, examples("10.213.0.3"))]
    ip: Option<String>,
    /// How far it is.
    #[schema(inline = false)]
    status: StatusName,
    /// Where the host reaches the first of `ports`.
    #[schema(required, examples("http://10.213.0.3:3001"))]
    endpoint: Option<String>,
    /// Where the host reaches each of `ports`: port to URL.
    endpoints: BTreeMap<String, String>,
    /// The ports that the workspace listens on inside the seat, the terminal's first.
    ports: Vec<u16>,
    /// The image that it was made from.
    #[schema(examples("clarateach-workspace"))]
    image: String,
    /// What runs it.
    #[schema(inline = false)]
    provider: ProviderName,
    /// When it was made (RFC 3339, UTC).
    #[schema(required, format = DateTime)]
    created_at: Option<String>,
    /// When it will be removed by itself (RFC 3339, UTC); null for never.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// Why it is not `running`, in words a person can act on.
    #[schema(required)]
    reason: Option<String>,
}

impl From<Instance> for InstanceBody {
    fn from(instance: Instance) -> Self {
        let endpoint = instance.endpoint().map(str::to_owned);
        Self {
            endpoint,
            id: instance.id,
            workshop: instance.seat.workshop.to_string(),
            seat: instance.seat.seat.get(),
            ip: instance.ip.map(|ip| ip.to_string()),
            status: instance.status.into(),
            endpoints: instance.endpoints.into_iter().map(|(port, url)| (port.to_string(), url)).collect(),
            ports: instance.ports,
            image: instance.image,
            provider: instance.provider.into(),
            created_at: instance.created_at.map(|time| time.to_string()),
            expires_at: instance.expires_at.map(|time| time.to_string()),
            reason: instance.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use seats::{SeatBound, SeatRef};

    use super::*;

    fn starting() -> Instance {
        Instance {
            id: None,
            seat: SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(7).unwrap()),
            ip: None,
            status: Status::Starting,
            ports: Vec::new(),
            endpoints: BTreeMap::new(),
            image: "x".into(),
            provider: ProviderKind::Sim,
            created_at: None,
            expires_at: None,
            reason: None,
        }
    }

    #[test]
    fn every_member_is_there_in_order() {
        let text = serde_json::to_string(&InstanceBody::from(starting())).unwrap();
        assert_eq!(
            text,
            r#"{"id":null,"workshop":"abc","seat":7,"ip":null,"status":"starting","endpoint":null,"endpoints":{},"ports":[],"image":"x","provider":"sim","created_at":null,"expires_at":null,"reason":null}"#
        );
    }

    #[test]
    fn a_running_seat_says_where_it_is() {
        let instance = Instance {
            ip: Some("10.0.0.5".parse().unwrap()),
            status: Status::Running,
            ports: vec![3001, 3002],
            endpoints: [(3001, "http://10.0.0.5:3001".into()), (3002, "http://10.0.0.5:3002".into())].into(),
            created_at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..starting()
        };
        let value = serde_json::to_value(InstanceBody::from(instance)).unwrap();
        assert_eq!(value["endpoint"], "http://10.0.0.5:3001");
        assert_eq!(value["endpoints"]["3002"], "http://10.0.0.5:3002");
        assert_eq!(value["created_at"], "1970-01-01T00:00:00Z");
        assert_eq!((&value["status"], &value["ip"]), (&"running".into(), &"10.0.0.5".into()));
    }
}
