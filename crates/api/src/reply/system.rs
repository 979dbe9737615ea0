//! What the service says about itself.

use serde::Serialize;
use utoipa::ToSchema;

use super::ProviderName;

/// The process is up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthBody {
    /// Always `ok`.
    #[schema(examples("ok"))]
    pub(crate) status: &'static str,
}

/// Whether the service can serve.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ready)]
pub(crate) struct ReadyBody {
    /// `ready`, or `unready` when a check failed.
    #[schema(examples("ready"))]
    pub(crate) status: &'static str,
    /// What was asked.
    pub(crate) checks: Vec<CheckBody>,
}

/// One thing that the service depends on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Check)]
pub(crate) struct CheckBody {
    /// What it is.
    #[schema(examples("docker"))]
    pub(crate) name: &'static str,
    /// Whether it is there.
    pub(crate) ok: bool,
    /// What it is, with its version; or what is missing.
    #[schema(examples("Docker Engine 28.1.1 (API 1.49)"))]
    pub(crate) detail: String,
    /// What to do about it; null when there is nothing to do.
    #[schema(required)]
    pub(crate) remedy: Option<String>,
}

/// Which service this is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionBody {
    /// The service's name.
    #[schema(examples("clarateach-orchestrator"))]
    pub(crate) name: &'static str,
    /// The service's version.
    #[schema(examples("0.1.0"))]
    pub(crate) version: &'static str,
    /// The commit that it was built from; null when the build did not say.
    #[schema(required)]
    pub(crate) commit: Option<&'static str>,
    /// The version of the HTTP contract.
    #[schema(examples("1.0.0"))]
    pub(crate) api: &'static str,
    /// What runs the seats.
    #[schema(inline = false)]
    pub(crate) provider: ProviderName,
}
