//! Checks the echo example against RFC 6455, byte for byte. These are sections 1 to 7 and 10 of the
//! Autobahn suite, for machines without the Python 2.7 of `scripts/autobahn`.

use testing::{Program, Raw, built, frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// The first fragment of a text, one in the middle, and the last.
const FIRST: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;

async fn echo() -> Program {
    Program::start(&built("examples/echo"), &["localhost:0", "--ping-interval", "0"]).await
}

/// The frames that one connection sends, and those that it receives. The last one ends it.
type Case = (Vec<Vec<u8>>, Vec<(u8, Vec<u8>)>);

/// Plays each case on a connection of its own: its frames in one write, one write a frame, and
/// in pieces of `octets`.
async fn play(octets: usize, cases: impl IntoIterator<Item = Case>) {
    let server = echo().await;
    for (frames, answers) in cases {
        let whole = frames.concat();
        let ways: [Vec<&[u8]>; 3] = [
            vec![&whole],
            frames.iter().map(Vec::as_slice).collect(),
            whole.chunks(octets).collect(),
        ];
        for pieces in ways {
            let mut raw = Raw::open(server.address).await;
            for piece in pieces {
                raw.write(piece).await;
            }
            let shown: Vec<_> = frames.iter().map(|frame| &frame[..frame.len().min(16)]).collect();
            for (first, payload) in &answers {
                let (came, with) = raw.next_frame().await.unwrap_or((0, Vec::new()));
                if came == CLOSE && with.len() > 2 {
                    // The wording of a refusal is the server's own.
                    assert_eq!((first, payload.get(..2)), (&came, with.get(..2)), "{shown:x?}");
                } else {
                    assert_eq!((*first, payload), (came, &with), "{shown:x?}");
                }
            }
            assert_eq!(raw.next_frame().await, None, "{shown:x?}");
        }
    }
}

/// The close frame that a well-behaved peer sends, and receives.
fn bye() -> Vec<u8> {
    frame(CLOSE, [3, 0xe8])
}

fn closed(code: u16) -> (u8, Vec<u8>) {
    (CLOSE, code.to_be_bytes().into())
}

/// These frames and a close frame, and these answers to them.
fn good(frames: Vec<Vec<u8>>, answers: &[(u8, &[u8])]) -> Case {
    let answers = answers.iter().map(|(first, payload)| (*first, payload.to_vec()));
    ([frames, vec![bye()]].concat(), answers.chain([closed(1000)]).collect())
}

/// A text that is echoed, then these frames, which are rejected with `code`.
fn bad(code: u16, frames: Vec<Vec<u8>>) -> Case {
    let hello = (TEXT, b"hello".to_vec());
    ([vec![frame(TEXT, "hello")], frames].concat(), vec![hello, closed(code)])
}

/// `text` in fragments of `size`.
fn fragments(first: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut frames = vec![frame(first & 0x7f, "")];
    frames.extend(payload.chunks(size).map(|piece| frame(MIDDLE, piece)));
    frames.push(frame(LAST, ""));
    frames
}

#[tokio::test]
async fn section_1_messages_of_any_size_are_echoed() {
    let sizes = [0, 1, 125, 126, 127, 128, 65_535, 65_536];
    let cases = sizes.into_iter().flat_map(|size| {
        let text = vec![b'*'; size];
        let binary: Vec<_> = (0..=255).cycle().take(size).collect();
        [(TEXT, text), (BINARY, binary)]
            .map(|(first, payload)| good(vec![frame(first, &payload)], &[(first, &payload)]))
    });
    let (small, large): (Vec<_>, Vec<_>) =
        cases.partition(|(frames, _)| frames.concat().len() < 1000);
    play(1, small).await;
    play(997, large).await;
}

#[tokio::test]
async fn section_2_pings_are_answered_in_order() {
    let payloads: [&[u8]; 5] = [b"", b"hello", b"\0\xff\xfe\xfd", &[0xfe; 125], b"\r\n"];
    let mut cases: Vec<_> = payloads
        .iter()
        .map(|payload| good(vec![frame(PING, payload)], &[(PONG, payload)]))
        .collect();
    let ten: Vec<_> = (0..10).map(|n| vec![b'0' + n]).collect();
    let answers: Vec<_> = ten.iter().map(|payload| (PONG, payload.as_slice())).collect();
    cases.push(good(ten.iter().map(|payload| frame(PING, payload)).collect(), &answers));
    let unasked = vec![frame(PONG, ""), frame(PONG, "x"), frame(PING, "?"), frame(PONG, "y")];
    cases.push(good(unasked, &[(PONG, b"?")]));
    cases.push(bad(1002, vec![frame(PING, [0xfe; 126])]));
    cases.push(bad(1002, vec![frame(PONG, [0xfe; 126])]));
    play(1, cases).await;
}

#[tokio::test]
async fn sections_3_and_4_reserved_values_are_rejected() {
    let bits = (1..8).flat_map(|bits| {
        [TEXT, BINARY, PING, PONG, CLOSE].map(|first| frame(first | bits << 4, ""))
    });
    let opcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
    let opcodes = opcodes.into_iter().flat_map(|opcode| {
        [frame(0x80 | opcode, ""), frame(0x80 | opcode, "data"), frame(opcode, "data")]
    });
    play(1, bits.chain(opcodes).map(|frame| bad(1002, vec![frame, self::frame(TEXT, "x")]))).await;
}

#[tokio::test]
async fn section_5_fragments_are_joined_around_pings() {
    let two = [frame(FIRST, "frag1"), frame(LAST, "frag2")];
    let ping = frame(PING, "in between");
    let pong: (u8, &[u8]) = (PONG, b"in between");
    let mixed = vec![two[0].clone(), ping.clone(), frame(PONG, ""), two[1].clone()];
    let empty = vec![frame(0x02, ""), frame(MIDDLE, ""), ping, frame(LAST, "")];
    let twice = [two.clone(), two.clone()].concat();
    let cases = [
        good(two.to_vec(), &[(TEXT, b"frag1frag2")]),
        good(mixed, &[pong, (TEXT, b"frag1frag2")]),
        good(empty, &[pong, (BINARY, b"")]),
        good(twice, &[(TEXT, b"frag1frag2"), (TEXT, b"frag1frag2")]),
        good(fragments(BINARY, &[0xff; 300], 7), &[(BINARY, &[0xff; 300])]),
        bad(1002, vec![frame(PING & 0x7f, "fragmented")]),
        bad(1002, vec![frame(PONG & 0x7f, "fragmented")]),
        bad(1002, vec![frame(CLOSE & 0x7f, [3, 0xe8])]),
        bad(1002, vec![frame(LAST, "of nothing"), frame(TEXT, "x")]),
        bad(1002, vec![frame(MIDDLE, "of nothing"), frame(TEXT, "x")]),
        bad(1002, vec![frame(FIRST, "frag1"), frame(TEXT, "frag2")]),
        bad(1002, vec![frame(FIRST, "frag1"), frame(FIRST, "frag2"), frame(LAST, "frag3")]),
        bad(1002, vec![frame(FIRST, ""), frame(MIDDLE, "frag"), frame(PING & 0x7f, "")]),
    ];
    play(1, cases).await;
}

#[tokio::test]
async fn section_6_invalid_text_is_rejected_early() {
    let valid = [
        "κόσμε",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}\u{feff}\u{fffe}\u{fdd0}",
        "🦀𝕏",
    ];
    let mut cases = Vec::new();
    for text in valid.map(str::as_bytes) {
        cases.push(good(vec![frame(TEXT, text)], &[(TEXT, text)]));
        cases.push(good(fragments(TEXT, text, 1), &[(TEXT, text)]));
    }
    let invalid: [&[u8]; 12] = [
        b"\x80",
        b"\xbf\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe\xff",
    ];
    for bytes in invalid {
        let text = ["κόσμε".as_bytes(), bytes, b"edited"].concat();
        cases.push(bad(1007, vec![frame(TEXT, &text)]));
        // The last fragment never comes.
        cases.push(bad(1007, vec![frame(FIRST, &text)]));
        let cut = text.chunks(1).map(|octet| frame(MIDDLE, octet));
        cases.push(bad(1007, [frame(FIRST, "")].into_iter().chain(cut).collect()));
    }
    for cut in [b"\xce".as_slice(), b"\xe1\xbd", b"\xf0\x9f\xa6"] {
        cases.push(bad(1007, vec![frame(TEXT, cut)]));
        cases.push(bad(1007, vec![frame(FIRST, cut), frame(LAST, "")]));
    }
    play(1, cases).await;
}

#[tokio::test]
async fn section_7_only_a_close_frame_is_answered() {
    let mut cases = vec![
        // Without a code, and then without one back.
        (vec![frame(CLOSE, "")], vec![(CLOSE, Vec::new())]),
        (vec![bye(), bye()], vec![closed(1000)]),
        (vec![bye(), frame(PING, "?")], vec![closed(1000)]),
        (vec![bye(), frame(TEXT, "more")], vec![closed(1000)]),
        (vec![frame(FIRST, "unfinished"), bye(), frame(LAST, "")], vec![closed(1000)]),
        (vec![bye(), frame(BINARY, vec![0; 200_000])], vec![closed(1000)]),
        bad(1002, vec![frame(CLOSE, [3])]),
        bad(1002, vec![frame(CLOSE, [&[3, 0xe8], &[b'*'; 124][..]].concat())]),
        bad(1007, vec![frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80")]),
    ];
    let valid = [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013];
    for code in valid.into_iter().chain([3000, 3999, 4000, 4999]) {
        for reason in [&b""[..], b"reason", &[b'*'; 123]] {
            let payload = [&code.to_be_bytes(), reason].concat();
            cases.push((vec![frame(CLOSE, &payload)], vec![(CLOSE, payload)]));
        }
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(bad(1002, vec![frame(CLOSE, code.to_be_bytes())]));
    }
    play(997, cases).await;
}

#[tokio::test]
async fn section_10_a_text_in_fragments_comes_back() {
    let text = vec![b'*'; 65_536];
    play(997, [good(fragments(TEXT, &text, 1300), &[(TEXT, &text)])]).await;
}
