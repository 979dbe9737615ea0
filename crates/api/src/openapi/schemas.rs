//! What callers send, as JSON Schema that accepts exactly what the readers accept.
//!
//! Written by hand and not derived: the readers in [`crate::request`] are by hand too, and bounds come from the
//! settings. What no schema can say is in the descriptions: `api_keys` names only seats of the class, lengths count
//! bytes, and the name within an image reference has at most 255.

use seats::{ApiKey, EnvName, EnvVars, ImageRef, WorkshopId};
use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::Deployment;
use crate::input::{duration_pattern, number_pattern};

pub(crate) const WORKSHOP_ID: &str = "WorkshopId";
pub(crate) const SEAT_NUMBER: &str = "SeatNumber";
pub(crate) const WAIT: &str = "Wait";
pub(crate) const REQUEST_ID: &str = "RequestId";
const IMAGE: &str = "ImageRef";
const ENV: &str = "Env";
const LIMITS: &str = "Limits";
const API_KEY: &str = "ApiKey";

/// The grammar of an image reference (distribution/reference, `ReferenceRegexp`) for digests that Docker knows,
/// written so that no text can match a part in two ways.
const IMAGE_PATTERN: &str = concat!(
    "^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?",
    "(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?/)?",
    "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*",
    "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?",
    "(?:@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?$"
);

/// Anything that an environment variable can hold.
const NO_NUL: &str = "^[^\\u0000]*$";

/// Every schema that is written by hand, for these settings.
pub(super) fn all(deployment: &Deployment) -> Vec<(&'static str, RefOr<Schema>)> {
    vec![
        (WORKSHOP_ID, workshop_id().into()),
        (SEAT_NUMBER, seat_number(deployment).into()),
        (WAIT, wait(deployment).into()),
        (REQUEST_ID, request_id().into()),
        (IMAGE, image().into()),
        (ENV, env().into()),
        (LIMITS, limits(deployment).into()),
        (API_KEY, api_key().into()),
        ("SeatRequest", seat_request().into()),
        ("ClassRequest", class_request(deployment).into()),
    ]
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn named(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// An object that takes no other fields.
fn closed(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

fn workshop_id() -> ObjectBuilder {
    text("The name of a workshop")
        .pattern(Some(WorkshopId::PATTERN))
        .min_length(Some(WorkshopId::MIN_LEN))
        .max_length(Some(WorkshopId::MAX_LEN))
        .examples(["rust-101"])
}

fn seat_number(deployment: &Deployment) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("The number of a seat in its workshop"))
        .minimum(Some(1))
        .maximum(Some(deployment.bound.highest()))
        .examples([1])
}

fn wait(deployment: &Deployment) -> ObjectBuilder {
    text("A duration").pattern(Some(duration_pattern(deployment.max_wait))).examples(["30s", "500ms", "1m"])
}

fn request_id() -> ObjectBuilder {
    text("The id of a request").pattern(Some("^[A-Za-z0-9._-]{1,64}$"))
}

fn image() -> ObjectBuilder {
    text("A Docker image reference, its name of at most 255 bytes; the configured image when it is left out")
        .pattern(Some(IMAGE_PATTERN))
        .min_length(Some(1))
        .max_length(Some(ImageRef::MAX_BYTES))
        .examples(["clarateach-workspace", "ghcr.io/org/image:1.2"])
}

fn env() -> ObjectBuilder {
    let reserved = EnvVars::RESERVED.join("|");
    let rest = EnvName::MAX_BYTES - 1;
    let name = text("The name of a variable; those that the service sets itself cannot be given")
        .pattern(Some(format!("^(?!(?:{reserved})$)[A-Za-z_][A-Za-z0-9_]{{0,{rest}}}$")));
    let value =
        text("Its value").pattern(Some(NO_NUL)).max_length(Some(EnvVars::MAX_VALUE_BYTES)).write_only(true);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Environment variables beyond those that every seat gets"))
        .property_names(Some(name))
        .additional_properties(Some(value))
        .max_properties(Some(EnvVars::MAX_VARS))
        .examples([json!({"EDITOR": "vim"})])
}

fn limits(deployment: &Deployment) -> ObjectBuilder {
    let ceiling = deployment.ceiling;
    let whole = |description, most: u32| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some(description))
            .minimum(Some(16))
            .maximum(Some(most))
    };
    let cpus = ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some("CPUs, rounded to thousandths"))
        .minimum(Some(0.01))
        .maximum(Some(f64::from(ceiling.cpu_millis) / 1000.0));
    closed("What the seat may use; the configured limits where left out")
        .property("cpus", cpus)
        .property("memory_mib", whole("Memory in MiB, without swap", ceiling.memory_mib))
        .property("pids", whole("Processes and threads", ceiling.pids))
        .examples([json!({"cpus": 1.5, "memory_mib": 512, "pids": 256})])
}

fn api_key() -> ObjectBuilder {
    text("The key that the workspace gets as `ANTHROPIC_API_KEY`, in at most 4096 bytes; it never comes out again")
        .pattern(Some(NO_NUL))
        .min_length(Some(1))
        .max_length(Some(ApiKey::MAX_BYTES))
        .write_only(true)
}

fn seat_request() -> ObjectBuilder {
    closed("A wish for one seat")
        .property("seat", named(SEAT_NUMBER))
        .property("api_key", named(API_KEY))
        .property("image", named(IMAGE))
        .property("env", named(ENV))
        .property("limits", named(LIMITS))
        .required("seat")
        .examples([
            json!({"seat": 1, "api_key": "sk-ant-…"}),
            json!({"seat": 2, "image": "clarateach-workspace", "env": {"EDITOR": "vim"}, "limits": {"cpus": 1.5}}),
        ])
}

fn class_request(deployment: &Deployment) -> ObjectBuilder {
    let most = deployment.bound.highest();
    let count = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("So many seats, from number 1"))
        .minimum(Some(1))
        .maximum(Some(most));
    let list = ArrayBuilder::new()
        .items(named(SEAT_NUMBER))
        .description(Some("Exactly these seats"))
        .min_items(Some(1))
        .max_items(Some(usize::from(most)))
        .unique_items(true);
    let seat = text("The number of a seat of the class")
        .pattern(Some(format!("^(?!0$)(?:{})$", number_pattern(u64::from(most)))));
    let keys = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Keys of single seats, by seat; every one of them is in the class"))
        .property_names(Some(seat))
        .additional_properties(Some(RefOr::<Schema>::from(named(API_KEY))))
        .max_properties(Some(usize::from(most)));
    closed("A wish for a whole class")
        .property("seats", OneOfBuilder::new().item(count).item(list))
        .property("api_key", named(API_KEY))
        .property("api_keys", keys)
        .property("image", named(IMAGE))
        .property("env", named(ENV))
        .property("limits", named(LIMITS))
        .required("seats")
        .examples([
            json!({"seats": 30, "api_key": "sk-ant-…"}),
            json!({"seats": [1, 2, 5], "api_keys": {"5": "sk-ant-…"}}),
        ])
}

/// Stands for a schema that [`all`] has.
macro_rules! stand_in {
    ($($(#[$doc:meta])* $name:ident: $schema:expr;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
    )+};
}

stand_in! {
    /// The body of `POST /workshops/{id}/seats`.
    SeatRequest: seat_request();
    /// The body of `PUT /workshops/{id}`.
    ClassRequest: class_request(&Deployment::default());
    /// An OpenAPI document.
    Document: ObjectBuilder::new().schema_type(Type::Object).description(Some("An OpenAPI 3.1 document"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    /// The generator takes no anchors, and repeats what may be repeated very often: less is enough here.
    fn matching(pattern: &str) -> impl Strategy<Value = String> {
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
        string_regex(&pattern.replace('*', "{0,2}").replace('+', "{1,3}")).unwrap()
    }

    proptest! {
        #[test]
        fn what_the_image_pattern_allows_is_read(text in matching(IMAGE_PATTERN)) {
            prop_assert!(text.parse::<ImageRef>().is_ok(), "{}", text);
        }

        #[test]
        fn what_the_workshop_pattern_allows_is_read(text in matching(WorkshopId::PATTERN)) {
            prop_assert!(text.parse::<WorkshopId>().is_ok(), "{}", text);
        }
    }
}
