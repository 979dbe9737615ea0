//! The operator's choices: defaults, ceilings and bounds.

use std::time::Duration;

use seats::{ImageRef, Limits, SeatSpec};

use crate::{LifecycleError, LimitsRequest, SeatRequest};

/// What the operator configured for every provider alike.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The image of a seat that names none.
    pub image: ImageRef,
    /// The images that a request may name; empty allows any. The default image is always allowed.
    pub allowed_images: Vec<AllowedImage>,
    /// The limits of a seat that names none.
    pub limits: Limits,
    /// The most that a request may ask for.
    pub ceiling: Limits,
    /// How many creates work at the same time.
    pub parallel: usize,
    /// How many more may wait in line.
    pub queue: usize,
    /// How long a started workspace may take until it answers before it counts as broken.
    pub start_timeout: Duration,
}

impl Policy {
    /// # Errors
    /// When the parts contradict each other.
    pub fn checked(self) -> Result<Self, InvalidPolicy> {
        if self.parallel == 0 {
            return Err(InvalidPolicy::Parallel);
        }
        let (limits, ceiling) = (self.limits, self.ceiling);
        if limits.cpu_millis > ceiling.cpu_millis
            || limits.memory_mib > ceiling.memory_mib
            || limits.pids > ceiling.pids
        {
            return Err(InvalidPolicy::DefaultAboveCeiling);
        }
        Ok(self)
    }

    /// Fills in what a request leaves out, and refuses what it may not ask for.
    pub(crate) fn resolve(&self, request: SeatRequest) -> Result<SeatSpec, LifecycleError> {
        let image = request.image.unwrap_or_else(|| self.image.clone());
        if !self.allows(&image) {
            return Err(LifecycleError::ImageNotAllowed { image });
        }
        let limits = self.limits(request.limits)?;
        Ok(SeatSpec { seat: request.seat, image, env: request.env, limits, api_key: request.api_key })
    }

    fn allows(&self, image: &ImageRef) -> bool {
        self.allowed_images.is_empty()
            || *image == self.image
            || self.allowed_images.iter().any(|allowed| allowed.covers(image))
    }

    fn limits(&self, request: LimitsRequest) -> Result<Limits, LifecycleError> {
        let limits = Limits {
            cpu_millis: request.cpu_millis.unwrap_or(self.limits.cpu_millis),
            memory_mib: request.memory_mib.unwrap_or(self.limits.memory_mib),
            pids: request.pids.unwrap_or(self.limits.pids),
        }
        .checked()?;
        let above = |field, ceiling: String| Err(LifecycleError::AboveCeiling { field, ceiling });
        if limits.cpu_millis > self.ceiling.cpu_millis {
            return above("limits.cpus", (f64::from(self.ceiling.cpu_millis) / 1000.0).to_string());
        }
        if limits.memory_mib > self.ceiling.memory_mib {
            return above("limits.memory_mib", self.ceiling.memory_mib.to_string());
        }
        if limits.pids > self.ceiling.pids {
            return above("limits.pids", self.ceiling.pids.to_string());
        }
        Ok(limits)
    }
}

/// An entry of the allow-list: an exact reference, or every reference that begins with what stands before a
/// final `*` (`ghcr.io/school/*`), compared in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedImage {
    /// Exactly this image.
    Exact(ImageRef),
    /// Any image whose canonical reference begins so.
    Prefix(String),
}

impl std::str::FromStr for AllowedImage {
    type Err = seats::InvalidImageRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(prefix) = text.strip_suffix('*') else {
            return text.parse().map(Self::Exact);
        };
        if prefix.is_empty() {
            return Ok(Self::Prefix(String::new()));
        }
        // The reference "{prefix}x" is made canonical, then its "x" (and the tag that was filled in) cut off.
        let probe: ImageRef = format!("{prefix}x").parse()?;
        let canonical = probe.canonical();
        let name = canonical.strip_suffix(":latest").unwrap_or(canonical);
        Ok(Self::Prefix(name.strip_suffix('x').unwrap_or(name).to_owned()))
    }
}

impl AllowedImage {
    fn covers(&self, image: &ImageRef) -> bool {
        match self {
            Self::Exact(allowed) => allowed == image,
            Self::Prefix(prefix) => image.canonical().starts_with(prefix.as_str()),
        }
    }
}

/// Why a [`Policy`] cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Nothing could ever be created.
    #[error("at least one create works at a time")]
    Parallel,
    /// A seat that asks for nothing would be refused.
    #[error("a default limit is above its ceiling")]
    DefaultAboveCeiling,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seats::{EnvVars, SeatBound, SeatRef};

    use super::*;

    fn policy() -> Policy {
        Policy {
            image: "clarateach-workspace".parse().unwrap(),
            allowed_images: Vec::new(),
            limits: Limits::default(),
            ceiling: Limits { cpu_millis: 2000, memory_mib: 2048, pids: 1024 },
            parallel: 2,
            queue: 4,
            start_timeout: Duration::from_secs(1),
        }
    }

    fn request(image: Option<&str>, limits: LimitsRequest) -> SeatRequest {
        let seat = SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(1).unwrap());
        let image = image.map(|text| text.parse().unwrap());
        SeatRequest { seat, image, env: EnvVars::default(), limits, api_key: None }
    }

    #[rstest]
    #[case(None, true)]
    #[case(Some("clarateach-workspace:latest"), true)]
    #[case(Some("school/one:2"), true)]
    #[case(Some("ghcr.io/school/any:3"), true)]
    #[case(Some("school/two"), false)]
    #[case(Some("ghcr.io/schoolyard/any"), false)]
    #[case(Some("evil/ghcr.io/school/any"), false)]
    fn only_listed_images(#[case] image: Option<&str>, #[case] allowed: bool) {
        let allowed_images =
            ["school/one:2", "ghcr.io/school/*"].into_iter().map(|text| text.parse().unwrap()).collect();
        let policy = Policy { allowed_images, ..policy() };
        assert_eq!(policy.resolve(request(image, LimitsRequest::default())).is_ok(), allowed);
    }

    #[rstest]
    #[case("ghcr.io/school/*", "ghcr.io/school/")]
    #[case("school/*", "docker.io/school/")]
    #[case("clarateach-*", "docker.io/library/clarateach-")]
    #[case("a/b:1.*", "docker.io/a/b:1.")]
    #[case("*", "")]
    fn prefixes_are_canonical(#[case] text: &str, #[case] prefix: &str) {
        assert_eq!(text.parse(), Ok(AllowedImage::Prefix(prefix.into())));
    }

    #[test]
    fn limits_fall_back_to_the_defaults_and_stop_at_the_ceiling() {
        let spec = policy()
            .resolve(request(None, LimitsRequest { pids: Some(99), ..LimitsRequest::default() }))
            .unwrap();
        assert_eq!(spec.limits, Limits { pids: 99, ..Limits::default() });
        let greedy = LimitsRequest { cpu_millis: Some(2001), ..LimitsRequest::default() };
        let error = policy().resolve(request(None, greedy)).unwrap_err();
        assert_eq!(error.to_string(), "limits.cpus is at most 2 on this service");
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused() {
        assert_eq!(Policy { parallel: 0, ..policy() }.checked().unwrap_err(), InvalidPolicy::Parallel);
        let low = Limits { pids: 16, ..Limits::default() };
        let error = Policy { ceiling: low, ..policy() }.checked().unwrap_err();
        assert_eq!(error, InvalidPolicy::DefaultAboveCeiling);
    }
}
