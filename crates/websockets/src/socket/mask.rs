//! The mask of the frames that a client sends (RFC 6455, section 5.3).

/// Masks `bytes`, or takes the mask off again. The first byte gets the first byte of `mask`.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut();
    // The compiler turns this into instructions that take many words at once.
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}
