//! What any compressor writes inflates to the message, whatever the pieces. Anything else is noticed.

use flate2::{Compress, Compression, FlushCompress};
use testing::property::{Result, Unstructured, check, mutate, pieces};

use super::*;

fn inflater(peer_keeps_window: bool) -> Inflater {
    Inflater::new(Deflate { window_bits: 15, peer_keeps_window })
}

/// Inflates a message that arrives in these pieces, `room` bytes at a time.
fn inflate(inflater: &mut Inflater, pieces: &[&[u8]], room: usize) -> io::Result<Vec<u8>> {
    let (mut message, mut output) = (Vec::new(), vec![0; room]);
    for mut piece in pieces.iter().copied() {
        loop {
            let (read, written) = inflater.inflate(piece, &mut output)?;
            message.extend(&output[..written]);
            piece = &piece[read..];
            if piece.is_empty() && written < room {
                break;
            }
        }
    }
    loop {
        let (written, is_last) = inflater.finish(&mut output)?;
        message.extend(&output[..written]);
        if is_last {
            return Ok(message);
        }
    }
}

fn message(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(0..=input.len().min(600))?;
    let noise = input.bytes(length)?;
    Ok(noise.repeat(input.int_in_range(0..=20)?))
}

/// A message as a compressor with this window writes it, flushed in between as some do.
fn deflated(zlib: &mut Compress, message: &[&[u8]]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(100_000);
    for part in message {
        // A second flush in a row writes nothing.
        if !part.is_empty() {
            zlib.compress_vec(part, &mut deflated, FlushCompress::Sync).unwrap();
        }
    }
    match deflated.strip_suffix(&TAIL) {
        Some(deflated) => deflated.to_vec(),
        None => vec![0],
    }
}

#[test]
fn any_message_inflates_to_itself() {
    for keeps_window in [false, true] {
        let mut inflater = inflater(keeps_window);
        check(60, |input| {
            let mut zlib = Compress::new(Compression::default(), false);
            let bits = input.int_in_range(9..=15)?;
            if !keeps_window {
                zlib = Compress::new_with_window_bits(Compression::default(), false, bits);
            }
            // With a window, the second message refers to the first.
            for _ in 0..2 {
                let message = message(input)?;
                let deflated = deflated(&mut zlib, &pieces(input, &message)?);
                let room = *input.choose(&[1, 7, 512])?;
                let inflated = inflate(&mut inflater, &pieces(input, &deflated)?, room);
                assert!(inflated.unwrap() == message);
                if !keeps_window {
                    zlib.reset();
                }
            }
            Ok(())
        });
    }
}

#[test]
fn a_message_that_is_cut_off_does_not_inflate() {
    check(100, |input| {
        let message = message(input)?;
        let mut zlib = Compress::new(Compression::default(), false);
        let mut deflated = deflated(&mut zlib, &[&message]);
        deflated.truncate(input.int_in_range(0..=deflated.len() - 1)?);
        if let Ok(inflated) = inflate(&mut inflater(false), &[&deflated], 512) {
            // A block before the last one may have been complete.
            assert!(message.starts_with(&inflated) && inflated.len() <= message.len());
            assert!(message.len() > 10_000 || deflated == [0]);
        }
        Ok(())
    });
}

#[test]
fn changed_bytes_never_inflate_without_end() {
    check(200, |input| {
        let message = message(input)?;
        let mut zlib = Compress::new(Compression::default(), false);
        let mut deflated = deflated(&mut zlib, &[&message]);
        mutate(input, &mut deflated)?;
        let pieces = pieces(input, &deflated)?;
        if let Ok(inflated) = inflate(&mut inflater(input.arbitrary()?), &pieces, 512) {
            // No format of deflate grows a byte to more.
            assert!(inflated.len() <= 1032 * (deflated.len() + 9));
        }
        Ok(())
    });
}

#[test]
fn every_way_to_end_a_block_is_read() {
    let empty_block: &[u8] = &[0, 0, 0, 0xff, 0xff];
    let hello: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    // The examples of RFC 7692, section 7.2.3, come first.
    let cases: [(Vec<u8>, &str); 8] = [
        (hello.to_vec(), "Hello"),
        (vec![0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], "Hello"),
        (vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"),
        (
            [
                &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff],
                &[0xca, 0xc9, 0xc9, 0x07, 0x00][..],
            ]
            .concat(),
            "Hello",
        ),
        // A last block without the byte after it, which some leave out, and two streams.
        (vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], "Hello"),
        ([&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], hello].concat(), "HelloHello"),
        (vec![0], ""),
        ([empty_block.repeat(100), hello.to_vec()].concat(), "Hello"),
    ];
    for keeps_window in [false, true] {
        let mut inflater = inflater(keeps_window);
        for (deflated, message) in &cases {
            let inflated = inflate(&mut inflater, &[deflated], 512);
            assert_eq!(inflated.unwrap(), message.as_bytes(), "{deflated:x?}");
        }
    }
    for invalid in [&[][..], &[0xff], &hello[..5], &[6], &[0, 1, 0, 0, 0]] {
        let error = inflate(&mut inflater(false), &[invalid], 512).unwrap_err();
        assert!(is_invalid_data(&error), "{invalid:x?}");
    }
}
