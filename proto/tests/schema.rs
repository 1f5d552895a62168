//! The wire only grows: everything that `baseline.txt` lists is there still, as it was.
//!
//! After an addition, `REPLANK_PROTO_BASELINE=write cargo test -p replank-proto --test schema` brings the baseline up to date. It refuses to
//! write when something was removed, renamed, renumbered or retyped: a peer of an earlier version would misread the wire.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const REFRESH: &str = "REPLANK_PROTO_BASELINE";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn baseline_path() -> PathBuf {
    root().join("baseline.txt")
}

/// The descriptors of every proto file of this crate.
fn compiled() -> FileDescriptorSet {
    let folder = root().join("replank/v1");
    let mut protos: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    protos.sort();
    assert!(protos.len() >= 2, "{protos:?}");
    protox::compile(protos, [root()]).unwrap()
}

/// One line for each thing on which two versions must agree.
fn schema(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            walk_message(&mut lines, package, message);
        }
        for one in &file.enum_type {
            walk_enum(&mut lines, package, one);
        }
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            lines.insert(format!("service {name}"));
            for method in &service.method {
                lines.insert(method_line(&name, method));
            }
        }
    }
    lines
}

fn walk_message(lines: &mut BTreeSet<String>, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        lines.insert(field_line(&name, message, field));
    }
    for nested in &message.nested_type {
        walk_message(lines, &name, nested);
    }
    for one in &message.enum_type {
        walk_enum(lines, &name, one);
    }
}

fn field_line(message: &str, of: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional | Label::Required => "",
    };
    let mut line = format!("field {message} {} = {label}{kind} {}", field.number(), field.name());
    if let (Some(index), false) = (field.oneof_index, field.proto3_optional()) {
        let oneof = &of.oneof_decl[usize::try_from(index).unwrap()];
        let _ = write!(line, " in oneof {}", oneof.name());
    }
    line
}

fn walk_enum(lines: &mut BTreeSet<String>, parent: &str, one: &EnumDescriptorProto) {
    let name = format!("{parent}.{}", one.name());
    lines.insert(format!("enum {name}"));
    for value in &one.value {
        lines.insert(format!("value {name} {} = {}", value.number(), value.name()));
    }
}

fn method_line(service: &str, method: &MethodDescriptorProto) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    format!(
        "rpc {service}.{}({}{}) returns ({}{})",
        method.name(),
        stream(method.client_streaming()),
        method.input_type().trim_start_matches('.'),
        stream(method.server_streaming()),
        method.output_type().trim_start_matches('.'),
    )
}

/// What of the baseline is not there any more: each line breaks a peer of an earlier version.
fn broken(baseline: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    baseline.difference(now).cloned().collect()
}

fn baseline() -> BTreeSet<String> {
    let text = std::fs::read_to_string(baseline_path()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_wire_only_grows() {
    let now = schema(&compiled());
    let refresh = std::env::var(REFRESH).is_ok_and(|value| value == "write");
    if refresh && !baseline_path().exists() {
        std::fs::write(baseline_path(), "").unwrap();
    }
    let before = baseline();
    let broken = broken(&before, &now);
    assert!(
        broken.is_empty(),
        "peers of an earlier version would misread the wire; these are gone or were changed:\n{}",
        broken.join("\n")
    );
    let new: Vec<&str> = now.difference(&before).map(String::as_str).collect();
    if refresh {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(baseline_path(), text).unwrap();
        return;
    }
    assert!(
        new.is_empty(),
        "the wire has grown, which is fine; bring the baseline up to date with {REFRESH}=write:\n{}",
        new.join("\n")
    );
}

/// A schema after `change`, and what the check says of it.
fn after(change: impl FnOnce(&mut FileDescriptorSet)) -> Vec<String> {
    let mut set = compiled();
    change(&mut set);
    broken(&baseline(), &schema(&set))
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    let mut messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
    messages.find(|message| message.name() == name).unwrap()
}

#[test]
fn the_check_finds_every_kind_of_break() {
    assert_eq!(after(|_| {}), Vec::<String>::new());
    let removed = after(|set| drop(message(set, "RunSummary").field.remove(0)));
    assert_eq!(removed, ["field replank.v1.RunSummary 1 = string run_id"]);
    let renumbered = after(|set| message(set, "RunSummary").field[0].number = Some(99));
    assert_eq!(renumbered, ["field replank.v1.RunSummary 1 = string run_id"]);
    let retyped = after(|set| message(set, "RunSummary").field[0].set_type(Type::Bytes));
    assert_eq!(retyped, ["field replank.v1.RunSummary 1 = string run_id"]);
    let repeated = after(|set| message(set, "RunSummary").field[0].set_label(Label::Repeated));
    assert_eq!(repeated.len(), 1);
    let no_message = after(|set| {
        for file in &mut set.file {
            file.message_type.retain(|message| message.name() != "PauseRequest");
        }
    });
    assert!(no_message.contains(&"message replank.v1.PauseRequest".to_owned()), "{no_message:?}");
    let rpc = after(|set| {
        for service in set.file.iter_mut().flat_map(|file| &mut file.service) {
            service.method.retain(|method| method.name() != "Rollback");
        }
    });
    assert_eq!(rpc.len(), 1, "{rpc:?}");
    let out_of_oneof = after(|set| {
        for message in set.file.iter_mut().flat_map(|file| &mut file.message_type) {
            message.field.iter_mut().for_each(|field| field.oneof_index = None);
        }
    });
    assert!(!out_of_oneof.is_empty());
}

#[test]
fn growth_breaks_nothing() {
    let grown = after(|set| {
        let mut field = message(set, "RunSummary").field[0].clone();
        field.name = Some("later".to_owned());
        field.number = Some(99);
        message(set, "RunSummary").field.push(field);
    });
    assert_eq!(grown, Vec::<String>::new());
}
