//! The OpenAPI 3.1 document.
//!
//! Every route documents itself where it is written; what many routes share is in [`params`] and [`responses`],
//! and [`schemas`] has what callers send. The document that is checked in describes a service with default
//! settings; the one that a running service hands out is exact for its own ([`Deployment`]), so that whoever
//! validates against it is told the same as whoever asks.

mod deployment;
mod finish;
pub(crate) mod params;
pub(crate) mod responses;
pub(crate) mod schemas;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Tag,
    tag::TagBuilder,
};

use crate::problem::{FieldError, LegacyError, ProblemBody};
use crate::reply::{
    ClassBody, Counts, InstanceBody, Outcome, ProviderName, SeatResult, StageBody, StatusName,
};

pub(crate) use deployment::Deployment;
pub(crate) use finish::finish;

/// The version of the HTTP contract: its first number changes when a caller has to.
pub(crate) const API_VERSION: &str = "1.0.0";

const ABOUT: &str = "Gives every learner of a workshop a seat: one isolated workspace, reachable over HTTP.\n\n\
    Every response carries `x-request-id`; a request may bring its own (1 to 64 of `A-Z a-z 0-9 . _ -`). Every \
    error is a problem (RFC 9457) with a stable `code`, everything that is wrong with the request at once, and \
    what to do about it. An API key is write-only: no response ever holds one.";

/// The document with default settings, as JSON with a final newline.
#[must_use]
pub fn document() -> String {
    finish(crate::routes::all().into_openapi(), &Deployment::default())
}

/// The document without its routes.
pub(crate) fn frame() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The service's token. A service without one answers requests to localhost only."))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .schema_from::<ProblemBody>()
        .schema_from::<FieldError>()
        .schema_from::<LegacyError>()
        .schema_from::<InstanceBody>()
        .schema_from::<StatusName>()
        .schema_from::<ProviderName>()
        .schema_from::<ClassBody>()
        .schema_from::<Outcome>()
        .schema_from::<Counts>()
        .schema_from::<SeatResult>()
        .schema_from::<StageBody>()
        .build();
    let info = InfoBuilder::new()
        .title("ClaraTeach Orchestrator")
        .version(API_VERSION)
        .description(Some(ABOUT))
        .contact(Some(ContactBuilder::new().name(Some("ClaraTeach")).build()))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], _>("bearer", [])]))
        .tags(Some([
            tag("seats", "One learner's place in a workshop"),
            tag("workshops", "A class as one object"),
            tag("system", "The service itself"),
        ]))
        .build()
}

fn tag(name: &str, description: &str) -> Tag {
    TagBuilder::new().name(name).description(Some(description)).build()
}
