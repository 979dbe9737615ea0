//! The responses that many routes share.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};

use crate::problem::PROBLEM_JSON;

type Map = BTreeMap<String, RefOr<Response>>;

fn problem(description: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, content)
}

fn json(description: &str, schema: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(description).content("application/json", content)
}

fn text_header(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

fn retry_after() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(3600));
    HeaderBuilder::new().schema(Some(schema)).description(Some("When to try again, in seconds")).build()
}

fn location() -> Header {
    text_header("The path of what was made")
}

fn server_timing() -> Header {
    text_header("Milliseconds per finished stage, such as `queue;dur=0.1, create;dur=40.2`")
}

fn map<const N: usize>(responses: [(&str, ResponseBuilder); N]) -> Map {
    responses.into_iter().map(|(status, response)| (status.to_owned(), response.build().into())).collect()
}

macro_rules! group {
    ($(#[$doc:meta])* $name:ident $(with $other:ident)*: $($status:literal => $response:expr),+ $(,)?) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> Map {
                #[allow(unused_mut)]
                let mut all = map([$(($status, $response)),+]);
                $(all.extend($other::responses());)*
                all
            }
        }
    };
}

group! {
    /// What probes may get: they need no token.
    Open:
        "403" => problem("Without a token the service answers requests to localhost only"),
}
group! {
    /// What every route may answer that is not for probes.
    Guarded with Open:
        "401" => problem("The bearer token is missing or wrong")
            .header("www-authenticate", text_header("`Bearer`")),
        "500" => problem("Something unexpected; the log has the details"),
}
group! {
    /// What every route may answer that asks the provider.
    Asks with Guarded:
        "400" => problem("The request is wrong; `errors` lists everything that is"),
        "502" => problem("The infrastructure refused"),
        "503" => problem("The infrastructure does not answer, the host has no room, or the service is shutting down")
            .header("retry-after", retry_after()),
}
group! {
    /// What every route may answer that takes a body.
    Writes with Asks:
        "408" => problem("The body did not arrive in time"),
        "413" => problem("The body is too large"),
        "415" => problem("The body is not `application/json`"),
        "429" => problem("Too many creates are waiting in line").header("retry-after", retry_after()),
}
group! {
    /// What stands in the way of a single seat.
    Creates:
        "409" => problem("The seat is there with another spec, a name is taken, or the seat was destroyed meanwhile"),
        "422" => problem("The image is not on the host and cannot be had"),
}
group! {
    /// What stands in the way of removing.
    Destroys:
        "409" => problem("Something with the same name is not this service's"),
}
group! {
    /// A seat that is not there.
    NoSuchSeat: "404" => problem("There is no such seat"),
}
group! {
    /// A workshop that is not there.
    NoSuchWorkshop: "404" => problem("The workshop has no seat"),
}
group! {
    /// A seat was made or found.
    CreateSeat:
        "200" => json("The same seat with the same spec was there", "Instance")
            .header("server-timing", server_timing()),
        "201" => json("The seat was made; `status` tells whether its workspace answers", "Instance")
            .header("location", location())
            .header("server-timing", server_timing()),
        "202" => json("The wait was over before the workspace answered; the work goes on", "Instance")
            .header("location", location())
            .header("retry-after", retry_after())
            .header("server-timing", server_timing()),
}
group! {
    /// A class has converged, or not yet.
    Converge:
        "200" => json("What became of every seat", "ClassResult").content(
            "text/event-stream",
            ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build(),
        ),
        "202" => json("The wait was over first; the work goes on", "ClassResult")
            .header("location", location())
            .header("retry-after", retry_after()),
}
