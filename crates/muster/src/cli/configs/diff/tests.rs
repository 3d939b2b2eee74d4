//! What a comparison says.

use super::*;

fn side(name: &str, files: &[(&str, &[u8])]) -> Side {
    let file = |body: &[u8]| AgentConfigFile {
        body: body.to_vec().into(),
        content_type: "text/yaml".to_owned(),
        ..Default::default()
    };
    let files = files.iter().map(|(key, body)| ((*key).to_owned(), file(body))).collect();
    Side { name: name.to_owned(), files }
}

#[test]
fn a_changed_file_is_a_unified_diff() {
    let old = side("c@1", &[("", b"a: 1\nb: 2\nc: 3\n")]);
    let new = side("c@2", &[("", b"a: 1\nb: 5\nc: 3\n")]);
    let changes = compare(&old, &new);
    assert_eq!(changes[0].text, "--- c@1\n+++ c@2\n@@ -1,3 +1,3 @@\n a: 1\n-b: 2\n+b: 5\n c: 3\n");
    assert_eq!(compare(&old, &old), []);
}

#[test]
fn files_come_and_go_under_their_keys() {
    let old = side("c@1", &[("gone", b"a\n"), ("same", b"s\n")]);
    let new = side("c@2", &[("new", b"b"), ("same", b"s\n")]);
    let changes = compare(&old, &new);
    let kinds: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.kind)).collect();
    assert_eq!(kinds, [("gone", "REMOVED"), ("new", "ADDED")]);
    assert!(changes[0].text.starts_with("--- c@1:gone\n+++ /dev/null\n"), "{}", changes[0].text);
    assert!(changes[1].text.contains("\n+b\n\\ No newline"), "{}", changes[1].text);
}

#[test]
fn what_is_no_text_or_has_another_type_differs_too() {
    let (old, mut new) = (side("c@1", &[("", b"\xff")]), side("c@2", &[("", b"\xfe")]));
    assert_eq!(compare(&old, &new)[0].text, "Binary files c@1 and c@2 differ\n");
    new.files = old.files.clone();
    new.files.get_mut("").unwrap().content_type.clear();
    let text = &compare(&old, &new)[0].text;
    assert!(text.contains("was content type \"text/yaml\""), "{text}");
}

#[test]
fn colours_are_for_terminals() {
    let diff = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n";
    assert_eq!(painted(diff, false), diff);
    assert!(painted(diff, true).contains("\u{1b}[31m-x\u{1b}[0m\n\u{1b}[32m+y"));
}

#[test]
fn code_1_is_left_to_differences() {
    let code = |error: anyhow::Error| trouble(error).downcast_ref::<Failure>().unwrap().code;
    assert_eq!(code(anyhow::anyhow!("reading x: no such file")), Code::Usage);
    assert_eq!(code(Failure::new(Code::Error, "data loss").into()), Code::Usage);
    assert_eq!(code(Failure::new(Code::NotFound, "c").into()), Code::NotFound);
}
