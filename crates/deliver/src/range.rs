//! Byte ranges, RFC 9110 section 14.

/// What a `Range` header asks of a representation of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranged {
    /// The whole: no range, one that we may ignore (several ranges, another unit, not well formed).
    Whole,
    /// Bytes `start..end`, answered 206.
    Slice { start: u64, end: u64 },
    /// Answered 416.
    Unsatisfiable,
}

/// Reads one `Range` header value against `length` bytes.
pub(crate) fn ranged(header: Option<&[u8]>, length: u64) -> Ranged {
    let Some(specs) = header.and_then(|value| std::str::from_utf8(value).ok()) else {
        return Ranged::Whole;
    };
    let Some(spec) = strip_unit(specs) else {
        return Ranged::Whole;
    };
    if spec.contains(',') {
        return Ranged::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Ranged::Whole;
    };
    match (position(first), position(last)) {
        (Position::Absent, Position::At(0)) => Ranged::Unsatisfiable,
        (Position::Absent, Position::At(suffix)) if length > 0 => Ranged::Slice {
            start: length.saturating_sub(suffix),
            end: length,
        },
        (Position::Absent, Position::At(_)) => Ranged::Unsatisfiable,
        (Position::At(start), Position::Absent) if start < length => Ranged::Slice { start, end: length },
        (Position::At(start), Position::At(last)) if start > last => Ranged::Whole,
        (Position::At(start), Position::At(last)) if start < length => Ranged::Slice {
            start,
            end: last.saturating_add(1).min(length),
        },
        (Position::At(_), Position::Absent | Position::At(_)) => Ranged::Unsatisfiable,
        _ => Ranged::Whole,
    }
}

fn strip_unit(specs: &str) -> Option<&str> {
    let (unit, spec) = specs.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(spec)
}

enum Position {
    Absent,
    At(u64),
    Malformed,
}

fn position(text: &str) -> Position {
    if text.is_empty() {
        Position::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than 64 bits hold is past every end.
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let slice = |start, end| Ranged::Slice { start, end };
        let cases: [(&str, u64, Ranged); 18] = [
            ("bytes=0-", 100, slice(0, 100)),
            ("bytes=0-0", 100, slice(0, 1)),
            ("bytes=10-19", 100, slice(10, 20)),
            ("BYTES=10-19", 100, slice(10, 20)),
            ("bytes=90-200", 100, slice(90, 100)),
            ("bytes=-10", 100, slice(90, 100)),
            ("bytes=-200", 100, slice(0, 100)),
            ("bytes=-0", 100, Ranged::Unsatisfiable),
            ("bytes=100-", 100, Ranged::Unsatisfiable),
            ("bytes=99999999999999999999999-", 100, Ranged::Unsatisfiable),
            ("bytes=0-0", 0, Ranged::Unsatisfiable),
            ("bytes=-1", 0, Ranged::Unsatisfiable),
            ("bytes=20-10", 100, Ranged::Whole),
            ("bytes=0-1,5-6", 100, Ranged::Whole),
            ("bytes=-", 100, Ranged::Whole),
            ("bytes=a-b", 100, Ranged::Whole),
            ("lines=0-1", 100, Ranged::Whole),
            ("bytes", 100, Ranged::Whole),
        ];
        for (header, length, expected) in cases {
            assert_eq!(
                ranged(Some(header.as_bytes()), length),
                expected,
                "{header} of {length}"
            );
        }
        assert_eq!(ranged(None, 100), Ranged::Whole);
        assert_eq!(ranged(Some(b"\xff"), 100), Ranged::Whole);
    }
}
