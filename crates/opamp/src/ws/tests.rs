//! One case per rule of RFC 6455, then properties over all inputs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
const LIMIT: usize = 1000;

/// Raw frame bytes, right or wrong: first byte, payload, mask.
fn raw(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, Opcode::Binary, payload, mask);
    out[0] = first;
    out
}

/// As a client sends it.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(first, payload, Some(MASK))
}

fn events(decoder: &mut Decoder, mut input: &[u8]) -> Result<Vec<Event>, Violation> {
    let mut events = Vec::new();
    while let Some(event) = decoder.feed(&mut input)? {
        events.push(event);
    }
    assert!(input.is_empty(), "None means that all is taken");
    Ok(events)
}

fn server(input: &[u8]) -> Result<Vec<Event>, Violation> {
    events(&mut Decoder::new(Role::Server, LIMIT), input)
}

fn closed(code: u16, reason: &[u8]) -> Result<Vec<Event>, Violation> {
    server(&sent(0x88, &[&code.to_be_bytes()[..], reason].concat()))
}

#[test]
fn takes_what_the_rfc_allows() {
    let cases: Vec<(&str, Vec<u8>, Vec<Event>)> = vec![
        ("empty message", sent(0x82, b""), vec![Event::Binary(vec![])]),
        ("short message", sent(0x82, b"abcde"), vec![Event::Binary(b"abcde".into())]),
        ("125 bytes", sent(0x82, &[1; 125]), vec![Event::Binary(vec![1; 125])]),
        ("126 bytes", sent(0x82, &[2; 126]), vec![Event::Binary(vec![2; 126])]),
        ("exactly the limit", sent(0x82, &[3; LIMIT]), vec![Event::Binary(vec![3; LIMIT])]),
        ("text", sent(0x81, &[0xff; 9]), vec![Event::Text]),
        ("ping", sent(0x89, b"hi"), vec![Event::Ping(b"hi".into())]),
        ("pong of 125", sent(0x8a, &[9; 125]), vec![Event::Pong(vec![9; 125])]),
        ("close without code", sent(0x88, b""), vec![Event::Close(None)]),
        (
            "fragments with control frames between",
            [
                sent(0x02, b"ab"),
                sent(0x89, b"p"),
                sent(0x00, b""),
                sent(0x8a, b""),
                sent(0x80, b"cd"),
            ]
            .concat(),
            vec![Event::Ping(b"p".into()), Event::Pong(vec![]), Event::Binary(b"abcd".into())],
        ),
        (
            "nothing after a close",
            [sent(0x88, b""), sent(0x82, b"late"), vec![0xff; 50]].concat(),
            vec![Event::Close(None)],
        ),
    ];
    for (name, input, expected) in cases {
        assert_eq!(server(&input), Ok(expected), "{name}");
    }
}

#[test]
fn close_codes_are_those_that_may_be_sent() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 4999] {
        assert_eq!(closed(code, "grün".as_bytes()), Ok(vec![Event::Close(Some(code))]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_eq!(closed(code, b""), Err(Violation::CloseCode(code)));
    }
}

#[test]
fn refuses_frames_the_rfc_forbids() {
    let plain = |first, payload: &[u8]| raw(first, payload, None);
    let long_of = |first, code: u8, length: &[u8]| [&[first, 0x80 | code], length, &MASK].concat();
    let cases: Vec<(&str, Vec<u8>, Violation)> = vec![
        ("rsv1", sent(0xc2, b"x"), Violation::ReservedBit),
        ("rsv2", sent(0xa2, b"x"), Violation::ReservedBit),
        ("rsv3 on control", sent(0x99, b"x"), Violation::ReservedBit),
        ("data opcode 3", sent(0x83, b"x"), Violation::Opcode(3)),
        ("data opcode 7", sent(0x87, b"x"), Violation::Opcode(7)),
        ("control opcode 11", sent(0x8b, b"x"), Violation::Opcode(11)),
        ("control opcode 15", sent(0x8f, b"x"), Violation::Opcode(15)),
        ("no mask", plain(0x82, b"x"), Violation::Unmasked),
        ("no mask on empty ping", plain(0x89, b""), Violation::Unmasked),
        ("ping in fragments", sent(0x09, b"x"), Violation::FragmentedControl),
        ("ping of 126", sent(0x89, &[0; 126]), Violation::LongControl),
        ("7 bits in 16", long_of(0x82, 126, &[0, 125]), Violation::Length),
        ("16 bits in 64", long_of(0x82, 127, &0xffff_u64.to_be_bytes()), Violation::Length),
        ("64th bit", long_of(0x82, 127, &(1_u64 << 63).to_be_bytes()), Violation::Length),
        ("half a close code", sent(0x88, b"\x03"), Violation::CloseLength),
        ("one over the limit", sent(0x82, &[0; LIMIT + 1]), Violation::TooBig(LIMIT)),
        ("text over the limit", sent(0x81, &[0; LIMIT + 1]), Violation::TooBig(LIMIT)),
        (
            "fragments over the limit",
            [sent(0x02, &[0; LIMIT]), sent(0x80, b"y")].concat(),
            Violation::TooBig(LIMIT),
        ),
        (
            "announced, never sent",
            long_of(0x82, 127, &(1_u64 << 62).to_be_bytes()),
            Violation::TooBig(LIMIT),
        ),
    ];
    for (name, input, expected) in cases {
        assert_eq!(server(&input), Err(expected), "{name}");
    }
    assert_eq!(closed(1000, b"\xff\xfe"), Err(Violation::CloseReason));
}

#[test]
fn refuses_messages_out_of_turn() {
    let cases: Vec<(&str, Vec<u8>, Violation)> = vec![
        ("continuation first", sent(0x80, b"x"), Violation::Continuation),
        (
            "continuation after the end",
            [sent(0x82, b"x"), sent(0x80, b"y")].concat(),
            Violation::Continuation,
        ),
        (
            "message in a message",
            [sent(0x02, b"x"), sent(0x82, b"y")].concat(),
            Violation::Interleaved,
        ),
        (
            "text in a message",
            [sent(0x02, b"x"), sent(0x81, b"y")].concat(),
            Violation::Interleaved,
        ),
    ];
    for (name, input, expected) in cases {
        assert_eq!(server(&input), Err(expected), "{name}");
    }
}

#[test]
fn a_client_refuses_masks() {
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    assert_eq!(events(&mut decoder, &sent(0x82, b"x")), Err(Violation::Masked));
}

#[test]
fn violations_name_their_close_code() {
    assert_eq!(Violation::TooBig(1).close_code(), 1009);
    assert_eq!(Violation::CloseReason.close_code(), 1007);
    assert_eq!(Violation::Unmasked.close_code(), 1002);
}

#[test]
fn after_a_violation_nothing_is_read() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    assert!(events(&mut decoder, &[0xff, 0xff]).is_err());
    assert_eq!(events(&mut decoder, &sent(0x82, b"x")), Ok(vec![]));
}

#[test]
fn empty_fragments_come_to_an_end() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    assert_eq!(events(&mut decoder, &sent(0x02, b"")), Ok(vec![]));
    let empty = sent(0x00, b"").repeat(FRAGMENTS_MAX as usize);
    assert_eq!(events(&mut decoder, &empty), Err(Violation::Fragments));
}

#[test]
fn a_large_message_needs_a_64_bit_length() {
    let payload = vec![7; 70_000];
    let mut decoder = Decoder::new(Role::Server, payload.len());
    let input = sent(0x82, &payload);
    assert_eq!(events(&mut decoder, &input), Ok(vec![Event::Binary(payload)]));
}

#[test]
fn nothing_is_held_between_messages() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let input = sent(0x82, &[1; 200]);
    assert!(decoder.is_idle());
    assert_eq!(events(&mut decoder, &input[..100]), Ok(vec![]));
    assert!(!decoder.is_idle());
    assert_eq!(decoder.held_bytes(), 92);
    assert_eq!(events(&mut decoder, &input[100..]).unwrap().len(), 1);
    assert!(decoder.is_idle());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let mut out = Vec::new();
    close(&mut out, Some(1000), &"ü".repeat(100), Some(MASK));
    assert_eq!(server(&out), Ok(vec![Event::Close(Some(1000))]));
    assert_eq!(out.len(), 2 + 4 + 2 + 122);
}

/// Input in pieces: lengths that repeat until the input is used up.
fn in_pieces(mut input: &[u8], pieces: &[usize]) -> (Vec<Event>, Option<Violation>, usize) {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let (mut seen, mut held_max) = (Vec::new(), 0);
    for length in pieces.iter().cycle() {
        if input.is_empty() {
            break;
        }
        let (mut piece, rest) = input.split_at((*length).clamp(1, input.len()));
        input = rest;
        loop {
            match decoder.feed(&mut piece) {
                Ok(Some(event)) => seen.push(event),
                Ok(None) => break,
                Err(violation) => return (seen, Some(violation), held_max),
            }
        }
        held_max = held_max.max(decoder.held_bytes());
    }
    (seen, None, held_max)
}

/// Frames that are mostly right, so that random input gets past the first header.
fn some_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => proptest::sample::select(vec![0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x81]),
        1 => any::<u8>(),
    ];
    let frames = (first, vec(any::<u8>(), 0..300), any::<[u8; 4]>());
    vec(frames, 0..8).prop_map(|frames| {
        frames
            .into_iter()
            .flat_map(|(first, payload, mask)| raw(first, &payload, Some(mask)))
            .collect()
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        input in some_frames(),
        pieces in vec(1_usize..200, 1..10),
    ) {
        let (whole, violation, _) = in_pieces(&input, &[usize::MAX]);
        let (split, split_violation, _) = in_pieces(&input, &pieces);
        prop_assert_eq!(whole, split);
        prop_assert_eq!(violation, split_violation);
    }

    #[test]
    fn random_bytes_neither_panic_nor_take_more_memory_than_they_are(
        input in vec(any::<u8>(), 0..2000),
        pieces in vec(1_usize..200, 1..10),
    ) {
        let (_, _, held_max) = in_pieces(&input, &pieces);
        prop_assert!(held_max <= input.len());
    }

    #[test]
    fn messages_round_trip_both_ways(
        payloads in vec(vec(any::<u8>(), 0..LIMIT), 0..5),
        mask in any::<[u8; 4]>(),
    ) {
        for (role, mask) in [(Role::Server, Some(mask)), (Role::Client, None)] {
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            for payload in &payloads {
                binary(&mut wire, payload, mask);
                expected.push(Event::Binary(payload.clone()));
                let short = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
                ping(&mut wire, short, mask);
                expected.push(Event::Ping(short.to_vec()));
                pong(&mut wire, short, mask);
                expected.push(Event::Pong(short.to_vec()));
            }
            close(&mut wire, Some(1001), "going away", mask);
            expected.push(Event::Close(Some(1001)));
            let mut decoder = Decoder::new(role, LIMIT);
            prop_assert_eq!(events(&mut decoder, &wire), Ok(expected));
        }
    }
}
