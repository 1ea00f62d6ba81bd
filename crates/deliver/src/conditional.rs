//! Validators and content negotiation, RFC 9110 sections 12.5.3 and 13.1.

/// `If-None-Match` holds `etag`: answer 304. Weak comparison, RFC 9110 13.1.2.
///
/// `etag` is a quoted strong tag; the gzip form of it (see [`gzip_etag`]) names the same snapshot and matches too.
pub(crate) fn none_match_holds(header: &[u8], etag: &str) -> bool {
    let Ok(header) = std::str::from_utf8(header) else {
        return false;
    };
    let opaque = etag.trim_end_matches('"');
    header.split(',').map(str::trim).any(|candidate| {
        let candidate = candidate.strip_prefix("W/").unwrap_or(candidate);
        candidate == "*"
            || candidate == etag
            || candidate
                .strip_prefix(opaque)
                .is_some_and(|suffix| suffix == "-gzip\"")
    })
}

/// The tag of the gzip form: another representation needs another strong tag (RFC 9110 8.8.3.3).
pub(crate) fn gzip_etag(etag: &str) -> String {
    let mut tag = String::with_capacity(etag.len() + 5);
    tag.push_str(etag.trim_end_matches('"'));
    tag.push_str("-gzip\"");
    tag
}

/// `If-Range` allows a 206: it is our strong tag. Dates never match, as we send no Last-Modified.
pub(crate) fn if_range_holds(header: &[u8], etag: &str) -> bool {
    header == etag.as_bytes()
}

/// `Accept-Encoding` takes gzip.
pub(crate) fn accepts_gzip(header: &[u8]) -> bool {
    let Ok(header) = std::str::from_utf8(header) else {
        return false;
    };
    let mut any = false;
    for item in header.split(',') {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let refused = parameters
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.trim().parse() == Ok(0.0_f32));
        match coding.trim() {
            coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                return !refused;
            }
            "*" => any = !refused,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match() {
        for (header, holds) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"a-gzip\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("\"ab\"", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(none_match_holds(header.as_bytes(), "\"a\""), holds, "{header}");
        }
        assert_eq!(gzip_etag("\"a\""), "\"a-gzip\"");
        assert!(if_range_holds(b"\"a\"", "\"a\""));
        assert!(!if_range_holds(b"W/\"a\"", "\"a\""));
    }

    #[test]
    fn accept_encoding() {
        for (header, accepted) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*", true),
            ("*;q=0", false),
            ("*, gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(header.as_bytes()), accepted, "{header}");
        }
    }
}
