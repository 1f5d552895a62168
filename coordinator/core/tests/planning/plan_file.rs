//! The plan file proves that it is as it was made.

use crate::support::World;
use replank_core::plan::{Plan, PlanFileError};

/// The proof by bytes alone says no wherever reading and writing again does.
#[test]
fn a_plan_file_is_proved_by_its_bytes_alone() {
    let plan = World::debian().plan();
    let (id, bytes) = (plan.id(), plan.to_bytes());
    assert_eq!(Plan::prove(&id, &bytes), Ok(()));
    assert_eq!(Plan::from_proved_bytes(&bytes), Ok(plan));
    for at in (0..bytes.len()).step_by(997) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Plan::prove(&id, &changed).is_err(), "byte {at}");
        changed.remove(at);
        assert!(Plan::prove(&id, &changed).is_err(), "without byte {at}");
        changed.insert(at, b' ');
        changed.insert(at, bytes[at]);
        assert!(Plan::prove(&id, &changed).is_err(), "with a blank at {at}");
    }
    assert!(Plan::prove(&World::el7().plan().id(), &bytes).is_err());
}

#[test]
fn the_same_input_gives_the_same_bytes_and_they_are_read_back() {
    let (first, second) = (World::debian().plan(), World::debian().plan());
    assert_eq!(first.to_bytes(), second.to_bytes());
    let (id, plan) = Plan::from_bytes(&first.to_bytes()).unwrap();
    assert_eq!(id, first.id());
    assert_eq!(plan, first);
}

#[test]
fn another_input_gives_another_id() {
    let mut world = World::debian();
    let before = world.plan().id();
    world.inventory.taken_at_ms += 1;
    assert_ne!(world.plan().id(), before);
}

#[test]
fn every_change_of_a_byte_is_refused() {
    let bytes = World::debian().plan().to_bytes();
    for at in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
        let error = Plan::from_bytes(&changed).unwrap_err();
        assert!(["RP1104", "RP1106"].contains(&error.code()), "{at}: {error}");
    }
}

#[test]
fn a_blank_more_a_field_more_and_half_a_file_are_refused() {
    let bytes = World::debian().plan().to_bytes();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let cases = [
        (format!("{text}\n"), "RP1106"),
        (text.replacen("\"fleet\": \"harbour\"", "\"fleet\": \"harbor\"", 1), "RP1106"),
        (text.replacen("\"format\": 1,", "\"format\": 1, \"extra\": 2,", 1), "RP1104"),
        (text[..text.len() / 2].to_owned(), "RP1104"),
        (String::new(), "RP1104"),
    ];
    for (changed, code) in cases {
        assert_eq!(Plan::from_bytes(changed.as_bytes()).unwrap_err().code(), code);
    }
}

#[test]
fn a_newer_format_is_refused_before_its_content_is_read() {
    let newer = br#"{ "id": "later", "plan": { "format": 2, "hosts": "elsewhere" } }"#;
    assert_eq!(Plan::from_bytes(newer), Err(PlanFileError::Newer { found: 2 }));
}
