//! The plan file proves that it is as it was made.

use crate::support::World;
use replank_common::ids::PlanId;
use replank_core::plan::{Plan, PlanFileError, Proof, Reader, cut};

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

fn proved(id: &PlanId, pieces: &[&[u8]]) -> Result<(), PlanFileError> {
    let mut proof = Proof::of(id);
    pieces.iter().try_for_each(|piece| proof.add(piece))?;
    proof.end()
}

fn read(pieces: &[&[u8]]) -> Result<Plan, PlanFileError> {
    let mut reader = Reader::of(pieces.len());
    pieces.iter().for_each(|piece| reader.add(piece));
    reader.end()
}

/// Cut before every one of its steps.
fn cut_small(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = cut(bytes);
    let (last, steps) = (pieces.pop().unwrap(), pieces.pop().unwrap());
    let mut begin = 0;
    for at in 1..steps.len() {
        if steps[at..].starts_with(b"      {\n") && steps[at - 1] == b'\n' {
            pieces.push(&steps[begin..at]);
            begin = at;
        }
    }
    pieces.extend([&steps[begin..], last]);
    pieces
}

#[test]
fn a_plan_file_is_proved_and_read_in_pieces() {
    let plan = World::debian().plan();
    let (id, bytes) = (plan.id(), plan.to_bytes());
    let small = cut_small(&bytes);
    assert_eq!(small.len(), plan.steps.len() + 2);
    for pieces in [cut(&bytes), small.clone(), vec![&bytes]] {
        assert_eq!(pieces.concat(), bytes);
        assert_eq!(proved(&id, &pieces), Ok(()));
        assert_eq!(read(&pieces).as_ref(), Ok(&plan));
    }
    // A piece less, a piece twice, two in each other's place: the bytes are others.
    for at in 0..small.len() {
        let (mut less, mut twice, mut swapped) = (small.clone(), small.clone(), small.clone());
        less.remove(at);
        twice.insert(at, small[at]);
        swapped.swap(at, (at + 1) % small.len());
        for pieces in [less, twice, swapped] {
            assert!(proved(&id, &pieces).is_err(), "at {at}");
        }
    }
}

/// The bytes are proved wherever they are cut, so where they are cut must not make another plan of them.
#[test]
fn a_plan_file_cut_elsewhere_gives_the_same_plan_or_none() {
    let plan = World::debian().plan();
    let (id, bytes) = (plan.id(), plan.to_bytes());
    // Where the elements of any list of the plan begin and end.
    let lines: Vec<usize> = (1..bytes.len())
        .filter(|at| bytes[at - 1] == b'\n')
        .filter(|at| [&b"      {\n"[..], b"    ]"].iter().any(|line| bytes[*at..].starts_with(line)))
        .collect();
    let mut refused = 0;
    for (n, first) in lines.iter().enumerate() {
        for last in lines[n..].iter().step_by(3) {
            let pieces = [&bytes[..*first], &bytes[*first..*last], &bytes[*last..]];
            match read(&pieces) {
                Ok(read) => assert_eq!(read, plan),
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.code(), "RP1104");
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(proved(&id, &[&bytes[..lines[7]], &bytes[lines[7]..]]), Ok(()));
    let (first, rest) = bytes.split_at(lines[7] + 1);
    assert!(matches!(proved(&id, &[first, rest]), Err(PlanFileError::Rewritten { .. })));
}

#[test]
fn a_newer_format_is_told_whatever_its_steps_are() {
    let text = String::from_utf8(World::debian().plan().to_bytes()).unwrap();
    let newer = text.replacen("\"format\": 1,", "\"format\": 2,", 1).replace("\"stage\":", "\"scene\":");
    assert_eq!(read(&cut(newer.as_bytes())), Err(PlanFileError::Newer { found: 2 }));
    let odd = text.replacen("\"stage\":", "\"scene\":", 1);
    assert_eq!(read(&cut(odd.as_bytes())).unwrap_err().code(), "RP1104");
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
