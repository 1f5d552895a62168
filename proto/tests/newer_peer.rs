//! What a newer peer adds is read without it, or refused with a text; never a panic, never a message that cannot be read at all.

use prost::Message;
use replank_common::action::{Action, UnitMask};
use replank_common::outcome::{How, Outcome};
use replank_common::reading::ReadingRequest;
use replank_proto::v1;

/// A number that no message of ours has.
const LATER: u32 = 1_999;

/// A field of a later version after (and before) what we know: every wire type that proto3 has.
fn with_later_fields(known: &[u8]) -> Vec<u8> {
    let key = |number: u32, wire_type: u32| -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut bytes);
        bytes
    };
    let mut bytes = key(LATER, 0);
    bytes.push(7);
    bytes.extend_from_slice(known);
    bytes.extend(key(LATER + 1, 1));
    bytes.extend([1; 8]);
    bytes.extend(key(LATER + 2, 2));
    bytes.extend([3, 0xff, 0x00, 0xff]);
    bytes.extend(key(LATER + 3, 5));
    bytes.extend([1; 4]);
    bytes
}

fn mask() -> Action {
    Action::UnitMask(UnitMask { unit: "libvirt-guests.service".to_owned(), runtime: true })
}

/// A message whose field `number` is the message `inner`.
fn wrapped(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend_from_slice(inner);
    bytes
}

#[test]
fn fields_of_a_later_version_are_read_past_at_every_depth() {
    let mask_bytes =
        v1::UnitMask { unit: "libvirt-guests.service".to_owned(), runtime: true }.encode_to_vec();
    let action = with_later_fields(&wrapped(9, &with_later_fields(&mask_bytes)));
    let execute =
        v1::Execute { epoch: 4, action_id: "a".to_owned(), ..v1::Execute::default() }.encode_to_vec();
    let execute = [execute, wrapped(3, &action)].concat();
    let link = v1::LinkResponse::decode(with_later_fields(&wrapped(2, &execute)).as_slice()).unwrap();
    let Some(v1::link_response::Message::Execute(execute)) = link.message else { panic!("{link:?}") };
    assert_eq!(execute.epoch, 4);
    assert_eq!(Action::try_from(execute.action.unwrap()).unwrap(), mask());

    let done = Outcome::Done { how: How::Applied, took_ms: 7, changes: Vec::new(), findings: Vec::new() };
    let bytes = with_later_fields(&v1::Outcome::from(done.clone()).encode_to_vec());
    assert_eq!(Outcome::try_from(v1::Outcome::decode(bytes.as_slice()).unwrap()).unwrap(), done);
}

#[test]
fn a_kind_of_action_that_is_unknown_here_is_a_refusal_that_names_it_and_the_link_message_stays_readable() {
    let execute =
        v1::Execute { epoch: 4, action_id: "a".to_owned(), ..v1::Execute::default() }.encode_to_vec();
    let action = wrapped(LATER, b"\x0a\x01x");
    let execute = [execute, wrapped(3, &action)].concat();
    let link = v1::LinkResponse::decode(wrapped(2, &execute).as_slice()).unwrap();
    let Some(v1::link_response::Message::Execute(execute)) = link.message else { panic!("{link:?}") };
    assert_eq!(execute.action_id, "a", "the refusal can be addressed");
    let error = Action::try_from(execute.action.unwrap()).unwrap_err();
    assert_eq!((error.message, error.field), ("Action", "action"));
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[test]
fn every_other_oneof_and_enum_of_a_later_version_is_refused_by_name() {
    let later = wrapped(LATER, b"\x08\x01");
    let measurement = v1::Measurement::decode(later.as_slice()).unwrap();
    assert_eq!(ReadingRequest::try_from(measurement).unwrap_err().message, "Measurement");
    let outcome = v1::Outcome::decode(later.as_slice()).unwrap();
    assert_eq!(Outcome::try_from(outcome).unwrap_err().message, "Outcome");
    let link = v1::LinkResponse::decode(later.as_slice()).unwrap();
    assert_eq!(link.message, None);

    let how = v1::outcome::Done { how: 77, ..v1::outcome::Done::default() };
    let outcome = v1::Outcome { outcome: Some(v1::outcome::Outcome::Done(how)) };
    let error = Outcome::try_from(outcome).unwrap_err();
    assert_eq!(error.field, "how");
    let stage = v1::PackagesStage { manager: 9, ..v1::PackagesStage::default() };
    let action = v1::Action { action: Some(v1::action::Action::PackagesStage(stage)) };
    assert_eq!(Action::try_from(action).unwrap_err().field, "manager");
}
