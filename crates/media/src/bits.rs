//! Bits of a header, most significant first; never reads past the end.

/// A cursor over bits. Every read gives `None` once the data does not suffice.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    /// Index of the byte being read.
    byte: usize,
    /// Bits of it already read, 0..=7.
    bit: u32,
    /// Drop emulation_prevention_three_byte (ITU-T H.264 7.3.1).
    is_nal: bool,
    /// Zero bytes right before `byte`.
    zeros: u32,
}

impl<'a> Bits<'a> {
    /// Plain bytes.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            byte: 0,
            bit: 0,
            is_nal: false,
            zeros: 0,
        }
    }

    /// The payload of a NAL unit, emulation prevention still in.
    pub(crate) fn nal(data: &'a [u8]) -> Self {
        Self {
            is_nal: true,
            ..Self::new(data)
        }
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        if self.is_nal && self.bit == 0 && self.zeros >= 2 && self.data.get(self.byte) == Some(&3) {
            self.byte += 1;
            self.zeros = 0;
        }
        let byte = *self.data.get(self.byte)?;
        let value = byte >> (7 - self.bit) & 1 == 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.byte += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(value)
    }

    /// The next `count` bits, at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32);
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// The next `count` bits, at most 8.
    pub(crate) fn byte(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.bits(count)?).ok()
    }

    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.flag()?;
        }
        Some(())
    }

    /// Moves to the next byte boundary.
    pub(crate) fn align(&mut self) -> Option<()> {
        while self.bit != 0 {
            self.flag()?;
        }
        Some(())
    }

    /// Whole bits left, not counting emulation prevention.
    pub(crate) fn left(&self) -> usize {
        self.data
            .len()
            .saturating_sub(self.byte)
            .saturating_mul(8)
            .saturating_sub(self.bit as usize)
    }

    /// ue(v), ITU-T H.264 9.1: 0..=2^32 - 2.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u32 << zeros) - 1) + self.bits(zeros)?)
    }

    /// se(v), ITU-T H.264 9.1.1.
    pub(crate) fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb() {
        // 1, 010, 011, 00100, 00101 and padding.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!(
            [bits.ue(), bits.ue(), bits.ue(), bits.ue(), bits.ue()].map(Option::unwrap),
            [0, 1, 2, 3, 4]
        );
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!(
            [bits.se(), bits.se(), bits.se(), bits.se(), bits.se()].map(Option::unwrap),
            [0, 1, -1, 2, -2]
        );
    }

    #[test]
    fn exp_golomb_at_its_ends() {
        let largest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Bits::new(&largest).ue(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0; 64]).ue(), None);
        assert_eq!(Bits::new(&[0, 0]).ue(), None);
        assert_eq!(Bits::new(&[]).ue(), None);
    }

    #[test]
    fn emulation_prevention_goes_only_where_it_stands() {
        let mut bits = Bits::nal(&[0, 0, 3, 1, 0, 3, 0, 0, 3]);
        let read: Vec<_> = std::iter::from_fn(|| bits.byte(8)).collect();
        assert_eq!(read, [0, 0, 1, 0, 3, 0, 0]);
    }
}
