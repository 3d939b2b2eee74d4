//! Order of agents, over pages.

use std::sync::Arc;

use model::AgentRecord;
use opamp::v1::AnyValue;
use opamp::v1::any_value::Value as Any;

use super::*;
use crate::view::Entry;

fn shown(byte: u8, zone: Option<&str>, seen: u64, cpus: i64) -> Shown {
    let uid = InstanceUid::from_bytes([byte; 16]);
    let mut summary = AgentSummary::from(&AgentRecord::new(uid, Timestamp(0)));
    summary.last_seen = Timestamp(seen);
    summary.labels.extend(zone.map(|zone| ("zone".to_owned(), zone.to_owned())));
    let value = Some(AnyValue { value: Some(Any::IntValue(cpus)) });
    summary.identifying_attributes = vec![KeyValue { key: "host.cpus".to_owned(), value }];
    let entry = Entry { version: 1, summary: Arc::new(summary), heard: Timestamp(0) };
    Shown { uid, entry, connected: byte.is_multiple_of(2) }
}

fn fleet() -> Vec<Shown> {
    vec![
        shown(1, Some("b"), 30, 4),
        shown(2, None, 10, 16),
        shown(3, Some("a"), 30, 2),
        shown(4, Some("b"), 20, 8),
    ]
}

/// Uids in order, read in pages.
fn read(text: &str, size: usize) -> Vec<u8> {
    let order = Order::parse(text, &Limits::default()).unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let (page, more) = order.page(fleet(), after.as_ref(), size);
        assert!(page.len() <= size);
        seen.extend(page.iter().map(|(_, shown)| shown.uid.as_bytes()[0]));
        if !more {
            return seen;
        }
        // A place goes through a page token.
        let token = serde_json::to_string(&page.last().unwrap().0).unwrap();
        after = Some(serde_json::from_str(&token).unwrap());
    }
}

#[test]
fn agents_come_in_the_order_asked_for_whatever_the_page_size() {
    for (text, want) in [
        ("last_seen_time desc, labels.zone", [3, 1, 4, 2]),
        ("last_seen_time,name desc", [2, 4, 3, 1]),
        ("labels.zone", [3, 1, 4, 2]),
        ("labels.zone desc", [2, 1, 4, 3]),
        ("attributes.host.cpus", [3, 1, 4, 2]),
        ("status, instance_uid", [2, 4, 1, 3]),
        ("health.healthy", [1, 2, 3, 4]),
    ] {
        for size in 1..=5 {
            assert_eq!(read(text, size), want, "{text} by {size}");
        }
    }
}

#[test]
fn what_cannot_be_an_order_is_refused_by_name() {
    let many = ["name"; 9].join(",");
    for (text, says) in [
        ("colour", "no field \"colour\"; known: name,"),
        ("name asc", "\"asc\" after a field"),
        ("name,", "fields separated by commas"),
        ("labels.", "no field \"labels.\""),
        ("a b c", "fields separated by commas"),
        (&many, "at most 8"),
    ] {
        let error = Order::parse(text, &Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with("order_by: ") && error.contains(says), "{text}: {error}");
    }
}
