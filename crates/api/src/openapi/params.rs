//! The parameters, one type for each combination that a route has.

use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr, Required};

use super::schemas;

fn parameter(
    place: ParameterIn,
    name: &str,
    description: &str,
    schema: RefOr<Schema>,
    example: Value,
) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example))
        .build()
}

fn named(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn workshop() -> Parameter {
    parameter(ParameterIn::Path, "id", "The workshop", named(schemas::WORKSHOP_ID), json!("rust-101"))
}

fn seat() -> Parameter {
    parameter(ParameterIn::Path, "seat", "The seat", named(schemas::SEAT_NUMBER), json!(1))
}

fn wait(default: &str) -> Parameter {
    let description = format!(
        "How long to wait for the answer, as milliseconds, seconds or minutes (`500ms`, `30s`, `1m`, plain \
         seconds); {default} when it is not there"
    );
    parameter(ParameterIn::Query, "wait", &description, named(schemas::WAIT), json!(default))
}

fn flag(name: &str, description: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))).into();
    parameter(ParameterIn::Query, name, description, schema, json!(true))
}

fn keep_data() -> Parameter {
    flag("keep_data", "Whether the data stays, to be attached again when the seat is made again")
}

macro_rules! combination {
    ($(#[$doc:meta])* $name:ident: $($parameter:expr),+ $(,)?) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter),+]
            }
        }
    };
}

combination! {
    /// A workshop.
    Workshop: workshop()
}
combination! {
    /// A seat of a workshop.
    Seat: workshop(), seat()
}
combination! {
    /// A seat to create.
    CreateSeat: workshop(), wait("30s")
}
combination! {
    /// A seat to destroy.
    DestroySeat: workshop(), seat(), keep_data()
}
combination! {
    /// A workshop to destroy.
    DestroyWorkshop: workshop(), keep_data()
}
combination! {
    /// A class to converge.
    Converge:
        workshop(),
        wait("5m"),
        flag("prune", "Whether seats that are not wished for are destroyed"),
        flag("keep_data", "Whether the data of pruned seats stays; only together with `prune=true`"),
}
