//! The last pass over the document.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{Components, OpenApi, Ref, RefOr, path::Operation};

use super::{Deployment, schemas};

/// Adds what every response has and what the settings decide, and writes the document.
pub(crate) fn finish(mut document: OpenApi, deployment: &Deployment) -> String {
    let components = document.components.get_or_insert_with(Components::new);
    for (name, schema) in schemas::all(deployment) {
        components.schemas.insert(name.to_owned(), schema);
    }
    if !deployment.token {
        document.security = None;
    }
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            label(operation);
        }
    }
    // The document is data that serde can always write; an empty object would show at once.
    let mut text = document.to_pretty_json().unwrap_or_else(|_| "{}".to_owned());
    text.push('\n');
    text
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// Every response says which request it answers.
fn label(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let header = HeaderBuilder::new()
                .schema(Some(Ref::from_schema_name(schemas::REQUEST_ID)))
                .description(Some("The request's id, which is also in the service's log"))
                .build();
            response.headers.insert("x-request-id".to_owned(), header.into());
        }
    }
}
