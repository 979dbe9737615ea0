//! The body of `POST /workshops/{id}/seats`.

use lifecycle::SeatRequest;
use seats::{SeatBound, SeatId, SeatRef, WorkshopId};
use serde_json::Value;

use super::common::Workspace;
use crate::input::{FieldErrors, Fields, kind};

/// Reads a wish for one seat. `None` only together with at least one noted mistake.
pub(crate) fn seat_request(
    body: Value,
    workshop: Option<WorkshopId>,
    bound: SeatBound,
    errors: &mut FieldErrors,
) -> Option<SeatRequest> {
    let mut fields = Fields::of_body(body, errors)?;
    let seat = fields
        .required("seat")
        .and_then(|value| number(&value, bound).map_err(|message| fields.wrong("seat", message)).ok());
    let Workspace { image, env, limits, api_key } = Workspace::read(&mut fields);
    fields.finish();
    Some(SeatRequest { seat: SeatRef::new(workshop?, seat?), image, env, limits, api_key })
}

/// A seat's number: a JSON integer within the bound, not text and not `1.0`.
pub(super) fn number(value: &Value, bound: SeatBound) -> Result<SeatId, String> {
    match value.as_u64() {
        Some(number) => bound.seat(number).map_err(|error| error.to_string()),
        None if value.is_number() => Err(format!("a seat is a whole number from 1 to {}", bound.highest())),
        None => Err(format!("a seat is a whole number from 1 to {}, not {}", bound.highest(), kind(value))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> (Option<SeatRequest>, FieldErrors) {
        let mut errors = FieldErrors::default();
        let request = seat_request(body, Some("abc".parse().unwrap()), SeatBound::default(), &mut errors);
        (request, errors)
    }

    #[test]
    fn the_original_payload_is_read() {
        let (request, errors) = read(json!({"seat": 1, "api_key": "sk-canary-1"}));
        let request = errors.check(request).unwrap();
        assert_eq!(request.seat.to_string(), "abc/1");
        assert_eq!(request.api_key.unwrap().expose(), "sk-canary-1");
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"seat": 0}))]
    #[case(json!({"seat": 101}))]
    #[case(json!({"seat": -1}))]
    #[case(json!({"seat": 1.0}))]
    #[case(json!({"seat": 1e30}))]
    #[case(json!({"seat": u64::MAX}))]
    #[case(json!({"seat": "1"}))]
    #[case(json!({"seat": true}))]
    #[case(json!({"seat": null}))]
    #[case(json!({"seat": [1]}))]
    fn a_seat_that_is_none(#[case] body: Value) {
        let (request, errors) = read(body);
        assert!(request.is_none());
        assert_eq!(errors.fields(), ["seat"]);
    }

    #[rstest]
    #[case(json!([]))]
    #[case(json!("seat"))]
    #[case(json!(null))]
    #[case(json!(1))]
    fn a_body_that_is_no_object(#[case] body: Value) {
        assert_eq!(read(body).1.fields(), ["body"]);
    }

    #[test]
    fn unknown_fields_are_refused_with_the_nearest_known_one() {
        let (_, errors) = read(json!({"seat": 1, "apiKey": "sk-canary-secret", "expires_in": 5}));
        assert_eq!(errors.fields(), ["apiKey", "expires_in"]);
        assert_eq!(
            errors.messages(),
            [
                "unknown field; did you mean 'api_key'?",
                "unknown field; known are seat, api_key, image, env, limits"
            ]
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("seat".to_owned()),
            Just("env".to_owned()),
            Just("limits".to_owned()),
            Just("cpus".to_owned()),
            Just("image".to_owned()),
            "\\PC{0,8}"
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_explained(body in any_json()) {
            let (request, errors) = read(body);
            prop_assert_eq!(errors.fields().is_empty() && request.is_none(), false);
        }
    }
}
