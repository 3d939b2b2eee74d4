//! Every field of `proto/muster`, by number and type, as a list that only grows: what is stored or
//! sent by one version is read by the others, so a number never changes its meaning.

use std::collections::BTreeSet;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};

const FILES: &[&str] = &[
    "muster/bus/v1/bus.proto",
    "muster/bus/v1/event.proto",
    "muster/control/v1/control.proto",
    "muster/control/v1/credentials.proto",
    "muster/control/v1/packages.proto",
    "muster/control/v1/settings.proto",
    "muster/state/v1/state.proto",
    "muster/state/v1/credentials.proto",
    "muster/state/v1/packages.proto",
    "muster/state/v1/settings.proto",
];
const LIST: &str = "proto/muster/fields.txt";

#[test]
fn fields_are_only_ever_added() {
    let root = crate::root();
    let files = protox::compile(FILES, [root.join("proto")]).unwrap();
    let mut today = BTreeSet::new();
    for file in files.file.iter().filter(|file| file.package().starts_with("muster.")) {
        file.message_type.iter().for_each(|it| message(file.package(), it, &mut today));
        file.enum_type.iter().for_each(|it| numbers(file.package(), it, &mut today));
    }
    let path = root.join(LIST);
    let list = std::fs::read_to_string(&path).unwrap_or_default();
    let known: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let gone: Vec<_> = known.difference(&today).collect();
    assert!(gone.is_empty(), "binaries that are out there use these, as they were: {gone:#?}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: Vec<String> = today.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, lines.concat()).unwrap();
    }
    let list = std::fs::read_to_string(&path).unwrap_or_default();
    let known: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let new: Vec<_> = today.difference(&known).collect();
    assert!(new.is_empty(), "not in {LIST} yet, UPDATE_GOLDEN=1 adds them: {new:#?}");
}

fn message(within: &str, it: &DescriptorProto, out: &mut BTreeSet<String>) {
    let name = format!("{within}.{}", it.name());
    for field in &it.field {
        out.insert(format!("{name} {} {}", field.number(), meaning(field)));
    }
    it.nested_type.iter().for_each(|inner| message(&name, inner, out));
    it.enum_type.iter().for_each(|inner| numbers(&name, inner, out));
}

fn numbers(within: &str, it: &EnumDescriptorProto, out: &mut BTreeSet<String>) {
    for value in &it.value {
        out.insert(format!("{within}.{} {} {}", it.name(), value.number(), value.name()));
    }
}

/// Its name, and its type as it is on the wire.
fn meaning(field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let many = if field.label() == Label::Repeated { "repeated " } else { "" };
    format!("{} {many}{kind}", field.name())
}
