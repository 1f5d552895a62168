//! Beats as bytes. A serial line has no frames, and qemu makes a datagram of each byte or of a few.
//!
//! A beat is five bytes: `0x80 | guest`, then the count as four digits of seven bits, the highest first. The top
//! bit is set in the first byte alone, so a reader that comes late or misses a byte is in step again with the next
//! beat.

/// Guests are numbered from 1 to this.
pub const MAX_GUEST: u8 = 0x7f;
/// Bytes of one beat.
pub const BEAT_LEN: usize = 5;

/// Puts the bytes of one source together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Decoder {
    guest: Option<u8>,
    digits: u8,
    count: u32,
}

impl Decoder {
    /// Takes one byte; gives guest and count when it ended a beat.
    pub(crate) fn push(&mut self, byte: u8) -> Option<(u8, u32)> {
        if byte & 0x80 != 0 {
            *self = Self { guest: Some(byte & MAX_GUEST), digits: 0, count: 0 };
            return None;
        }
        let guest = self.guest?;
        self.count = self.count << 7 | u32::from(byte);
        self.digits += 1;
        if usize::from(self.digits) < BEAT_LEN - 1 {
            return None;
        }
        let beat = (guest, self.count);
        *self = Self::default();
        Some(beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(guest: u8, count: u32) -> [u8; BEAT_LEN] {
        let digit = |shift: u32| u8::try_from(count >> shift & 0x7f).unwrap();
        [0x80 | guest, digit(21), digit(14), digit(7), digit(0)]
    }

    fn decode(bytes: impl IntoIterator<Item = u8>) -> Vec<(u8, u32)> {
        let mut decoder = Decoder::default();
        bytes.into_iter().filter_map(|byte| decoder.push(byte)).collect()
    }

    #[test]
    fn beats_come_out_as_they_went_in() {
        let beats = [(1, 1), (1, 127), (1, 128), (127, (1 << 28) - 1)];
        assert_eq!(decode(beats.iter().flat_map(|(guest, count)| encode(*guest, *count))), beats);
    }

    #[test]
    fn noise_and_missing_bytes_cost_one_beat_at_most() {
        let noise = b"SeaBIOS (version 1.16.2)\r\n".iter().copied();
        let cut = encode(3, 10).into_iter().take(3);
        let bytes = noise.chain(cut).chain(encode(3, 11)).chain(encode(3, 12));
        assert_eq!(decode(bytes), [(3, 11), (3, 12)]);
    }
}
