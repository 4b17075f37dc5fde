//! Property tests: checks that must hold for any input.

use std::env;

use arbtest::arbtest;

pub use arbtest::arbitrary::{Result, Unstructured};

/// The largest number of random bytes for one case.
const MAX_SIZE: u32 = 4096;

/// Checks that `property` does not panic. It makes its input from random bytes.
///
/// Every run has the same cases, so a new failure means that the code has changed. If the
/// environment has `ARBTEST_BUDGET_MS`, the cases are new ones, for this number of milliseconds. A
/// failure prints its seed, and `ARBTEST_SEED` repeats this one case.
pub fn check(cases: u32, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let (mut tried, mut done) = (0, 0);
    let mut counted = |input: &mut Unstructured<'_>| {
        tried += 1;
        let result = property(input);
        done += u32::from(result.is_ok());
        // There are too few random bytes for this property.
        Ok(_ = result)
    };
    if env::var_os("ARBTEST_BUDGET_MS").is_some() || env::var_os("ARBTEST_SEED").is_some() {
        arbtest(counted).size_min(16).size_max(MAX_SIZE).run();
    } else {
        for case in 1..=cases {
            // A seed is a number and a size. Numbers that differ in few bits would make inputs that
            // begin alike.
            let number = u64::from(case.wrapping_mul(0x9e37_79b9));
            let size = 16 << (case % 9);
            arbtest(&mut counted).seed(number << 32 | size).run();
        }
    }
    eprintln!("{done} cases");
    assert!(done > tried / 2, "most cases have too few random bytes");
}

/// Returns any text, usually with many of these special pieces.
pub fn text(input: &mut Unstructured<'_>, special: &[&str], most: usize) -> Result<String> {
    let count = input.int_in_range(0..=most)?;
    let mut text = String::new();
    for _ in 0..count {
        match input.int_in_range(0..=3)? {
            0 => text.push(input.arbitrary()?),
            1 => text.push(char::from(input.int_in_range(b' '..=b'~')?)),
            _ => text.push_str(input.choose(special)?),
        }
    }
    Ok(text)
}

/// Changes a few bytes: overwrites, inserts, removes, repeats or truncates.
pub fn mutate(input: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    for _ in 0..input.int_in_range(1..=3)? {
        let at = input.int_in_range(0..=bytes.len())?;
        let end = bytes.len().min(at + input.int_in_range(0..=8)?);
        match input.int_in_range(0..=5)? {
            0 if at < bytes.len() => bytes[at] ^= 1 << input.int_in_range(0..=7)?,
            1 if at < bytes.len() => bytes[at] = input.arbitrary()?,
            2 => bytes.insert(at, input.arbitrary()?),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.truncate(at),
        }
    }
    Ok(())
}

/// Cuts `bytes` into pieces that are not empty.
pub fn pieces<'b>(input: &mut Unstructured<'_>, mut bytes: &'b [u8]) -> Result<Vec<&'b [u8]>> {
    let most = *input.choose(&[1, 2, 16, 600, 5000, usize::MAX])?;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        // When the random bytes are used up, the rest is one piece.
        let most = if input.is_empty() { bytes.len() } else { most.min(bytes.len()) };
        let least = if input.is_empty() { most } else { 1 };
        let (piece, rest) = bytes.split_at(input.int_in_range(least..=most)?);
        pieces.push(piece);
        bytes = rest;
    }
    Ok(pieces)
}
