//! The body of `PUT /workshops/{id}`.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::ClassRequest;
use seats::{ApiKey, DataPolicy, SeatBound, SeatId, WorkshopId};
use serde_json::Value;

use super::common::Workspace;
use super::seat::number;
use crate::input::{FieldErrors, Fields, kind};

/// The parts of a class request that are not in the body.
pub(crate) struct ClassWish {
    pub(crate) workshop: Option<WorkshopId>,
    pub(crate) prune: Option<DataPolicy>,
    pub(crate) bound: SeatBound,
}

/// Reads a wish for a class. `None` only together with at least one noted mistake.
pub(crate) fn class_wish(body: Value, wish: ClassWish, errors: &mut FieldErrors) -> Option<ClassRequest> {
    let ClassWish { workshop, prune, bound } = wish;
    let mut fields = Fields::of_body(body, errors)?;
    let seats = fields.required("seats").and_then(|value| seats(&mut fields, &value, bound));
    let api_keys = api_keys(&mut fields, seats.as_ref(), bound);
    let Workspace { image, env, limits, api_key } = Workspace::read(&mut fields);
    fields.finish();
    Some(ClassRequest { workshop: workshop?, seats: seats?, image, env, limits, api_key, api_keys, prune })
}

/// `30` is the seats 1 to 30; `[1, 2, 5]` is these.
fn seats(fields: &mut Fields<'_>, value: &Value, bound: SeatBound) -> Option<BTreeSet<SeatId>> {
    match value {
        Value::Array(list) => listed(fields, list, bound),
        Value::Number(count) => {
            let all = count
                .as_u64()
                .filter(|count| (1..=u64::from(bound.highest())).contains(count))
                .and_then(|count| {
                    (1..=count).map(|number| bound.seat(number)).collect::<Result<BTreeSet<_>, _>>().ok()
                });
            if all.is_none() {
                fields.wrong("seats", format_args!("a class has 1 to {} seats", bound.highest()));
            }
            all
        }
        other => {
            fields.wrong(
                "seats",
                format_args!("this is a number of seats or a list of seats, not {}", kind(other)),
            );
            None
        }
    }
}

fn listed(fields: &mut Fields<'_>, list: &[Value], bound: SeatBound) -> Option<BTreeSet<SeatId>> {
    if list.is_empty() {
        fields.wrong("seats", "a class has at least one seat");
        return None;
    }
    let mut seats = BTreeSet::new();
    let mut twice = BTreeSet::new();
    let mut good = true;
    for (index, value) in list.iter().enumerate() {
        match number(value, bound) {
            Ok(seat) if seats.insert(seat) => {}
            Ok(seat) => {
                twice.insert(seat);
            }
            Err(message) => {
                fields.wrong(&format!("seats[{index}]"), message);
                good = false;
            }
        }
    }
    if !twice.is_empty() {
        let twice: Vec<String> = twice.iter().map(ToString::to_string).collect();
        fields.wrong("seats", format_args!("listed more than once: {}", twice.join(", ")));
        good = false;
    }
    good.then_some(seats)
}

fn api_keys(
    fields: &mut Fields<'_>,
    seats: Option<&BTreeSet<SeatId>>,
    bound: SeatBound,
) -> BTreeMap<SeatId, ApiKey> {
    let mut keys = BTreeMap::new();
    for (name, value) in fields.map("api_keys").unwrap_or_default() {
        // Whoever swaps names and values puts the keys where the seats belong: such a name is not quoted.
        let path = if is_number(&name) { format!("api_keys.{name}") } else { "api_keys".to_owned() };
        let key = match value {
            Value::String(text) => ApiKey::new(text).map_err(|error| error.to_string()),
            other => Err(format!("an api key is text, not {}", kind(&other))),
        };
        let seat = bound.parse(&name).map_err(|error| error.to_string());
        match (seat, key) {
            (Err(message), _) | (Ok(_), Err(message)) => fields.wrong(&path, message),
            (Ok(seat), Ok(_)) if seats.is_some_and(|seats| !seats.contains(&seat)) => {
                fields.wrong(&path, "this seat is not in the class");
            }
            (Ok(seat), Ok(key)) => {
                keys.insert(seat, key);
            }
        }
    }
    keys
}

fn is_number(name: &str) -> bool {
    name.len() < 6 && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> (Option<ClassRequest>, FieldErrors) {
        let mut errors = FieldErrors::default();
        let wish =
            ClassWish { workshop: Some("abc".parse().unwrap()), prune: None, bound: SeatBound::default() };
        let request = class_wish(body, wish, &mut errors);
        (request, errors)
    }

    #[rstest]
    #[case(json!(3), &[1, 2, 3])]
    #[case(json!([5, 1, 2]), &[1, 2, 5])]
    fn seats_are_a_count_or_a_list(#[case] seats: Value, #[case] expected: &[u16]) {
        let (request, errors) = read(json!({ "seats": seats }));
        let request = errors.check(request).unwrap();
        assert_eq!(request.seats.iter().map(|seat| seat.get()).collect::<Vec<_>>(), expected);
    }

    #[rstest]
    #[case(json!(0), &["seats"])]
    #[case(json!(101), &["seats"])]
    #[case(json!(-1), &["seats"])]
    #[case(json!(2.0), &["seats"])]
    #[case(json!(u64::MAX), &["seats"])]
    #[case(json!("3"), &["seats"])]
    #[case(json!(null), &["seats"])]
    #[case(json!([]), &["seats"])]
    #[case(json!([1, 0, "2", 101]), &["seats[1]", "seats[2]", "seats[3]"])]
    #[case(json!([1, 2, 1, 2, 3]), &["seats"])]
    fn seats_that_are_none(#[case] seats: Value, #[case] fields: &[&str]) {
        let (request, errors) = read(json!({ "seats": seats }));
        assert!(request.is_none());
        assert_eq!(errors.fields(), fields);
    }

    #[test]
    fn duplicates_are_named() {
        let (_, errors) = read(json!({"seats": [3, 1, 3, 1, 3, 2]}));
        assert_eq!(errors.messages(), ["listed more than once: 1, 3"]);
    }

    #[test]
    fn a_seat_may_have_a_key_of_its_own() {
        let (request, errors) = read(json!({"seats": 2, "api_key": "all", "api_keys": {"2": "own"}}));
        let request = errors.check(request).unwrap();
        assert_eq!(request.api_keys.len(), 1);
        assert_eq!(request.api_key.unwrap().expose(), "all");
    }

    #[test]
    fn keys_are_for_seats_of_the_class() {
        let keys = json!({"3": "sk-canary-secret", "01": "sk-canary-secret", "sk-canary-secret": "1", "1": 5, "2": ""});
        let (_, errors) = read(json!({"seats": 2, "api_keys": keys}));
        assert_eq!(errors.fields(), ["api_keys.01", "api_keys.1", "api_keys.2", "api_keys.3", "api_keys"]);
        assert!(!format!("{:?}", errors.messages()).contains("secret"));
    }
}
