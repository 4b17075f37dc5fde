//! Property tests: what must hold for any input.

use std::env;

use arbtest::arbtest;

pub use arbtest::arbitrary::{Result, Unstructured};

/// The most random bytes that one case is made of.
const MAX_SIZE: u32 = 4096;

/// Checks that `property` holds, which makes its input of random bytes and panics if it does not.
///
/// The cases are the same in each run, so that a failure means that the code has changed. With
/// `ARBTEST_BUDGET_MS` in the environment they are new ones, for so many milliseconds. A failure
/// prints its seed. `ARBTEST_SEED` repeats this one case.
pub fn check(cases: u32, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let (mut tried, mut done) = (0, 0);
    let mut counted = |input: &mut Unstructured<'_>| {
        tried += 1;
        let result = property(input);
        done += u32::from(result.is_ok());
        // Too few random bytes for this property.
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

/// Any text, mostly of the characters that a parser treats in a special way.
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

/// Changes a few bytes: overwrites, inserts, removes, repeats or cuts off.
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

/// Cuts `bytes` into pieces, none of which is empty.
pub fn pieces<'b>(input: &mut Unstructured<'_>, mut bytes: &'b [u8]) -> Result<Vec<&'b [u8]>> {
    let most = *input.choose(&[1, 2, 16, 600, 5000, usize::MAX])?;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        // Once there is no more chance, the rest comes in one piece.
        let most = if input.is_empty() { bytes.len() } else { most.min(bytes.len()) };
        let least = if input.is_empty() { most } else { 1 };
        let (piece, rest) = bytes.split_at(input.int_in_range(least..=most)?);
        pieces.push(piece);
        bytes = rest;
    }
    Ok(pieces)
}
