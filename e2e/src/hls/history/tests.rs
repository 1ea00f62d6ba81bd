//! Each rule catches the playlist that breaks it, and a correct sequence breaks none.

use super::History;
use crate::hls::playlist::MediaPlaylist;

const PARTS_PER_SEGMENT: u64 = 8;

/// A correct playlist: 2 s segments of eight parts, `parts` of them made so far, a window of six segments.
fn good(parts: u64) -> String {
    let complete = parts / PARTS_PER_SEGMENT;
    let first = complete.saturating_sub(6);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.25000\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75000,HOLD-BACK=6,CAN-SKIP-UNTIL=12\n\
         #EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"init-0.mp4\"\n"
    );
    for msn in first..=complete {
        let made = (parts - msn * PARTS_PER_SEGMENT).min(PARTS_PER_SEGMENT);
        if made > 0 {
            text += &format!("#EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:{:02}.000Z\n", 2 * msn);
        }
        if complete - msn <= 3 {
            for part in 0..made {
                let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
                text += &format!("#EXT-X-PART:DURATION=0.25000,URI=\"part-{msn}.{part}.m4s\"{independent}\n");
            }
        }
        if msn < complete {
            text += &format!("#EXTINF:2.00000,\nseg-{msn}.m4s\n");
        }
    }
    text + &format!(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-{complete}.{}.m4s\"\n",
        parts % PARTS_PER_SEGMENT
    )
}

fn findings(texts: &[String]) -> super::Findings {
    let mut history = History::new("source");
    for text in texts {
        history.observe(&MediaPlaylist::parse(text).expect("the sequence is syntactically right"));
    }
    history.findings
}

#[test]
fn a_correct_history_breaks_no_rule() {
    let texts: Vec<String> = (1..120).map(good).collect();
    let found = findings(&texts);
    assert!(found.is_empty(), "{found}");
}

/// The rule, the state (in parts) that goes wrong, and the replacement that makes it wrong.
const WRONG: &[(&str, u64, &str, &str)] = &[
    ("version", 20, "VERSION:9", "VERSION:6"),
    ("can-block-reload", 20, "CAN-BLOCK-RELOAD=YES,", ""),
    ("part-target", 20, "#EXT-X-PART-INF:PART-TARGET=0.25000\n", ""),
    (
        "part-hold-back",
        20,
        "PART-HOLD-BACK=0.75000",
        "PART-HOLD-BACK=0.50000",
    ),
    ("hold-back", 20, "HOLD-BACK=6,", "HOLD-BACK=4,"),
    ("can-skip-until", 20, "CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=6"),
    ("constant", 20, "TARGETDURATION:2", "TARGETDURATION:1"),
    ("constant", 20, "PART-HOLD-BACK=0.75000", "PART-HOLD-BACK=1.00000"),
    (
        "extinf-target",
        20,
        "EXTINF:2.00000,\nseg-1",
        "EXTINF:2.60000,\nseg-1",
    ),
    (
        "parts-sum",
        20,
        "EXTINF:2.00000,\nseg-1",
        "EXTINF:1.99000,\nseg-1",
    ),
    (
        "part-too-long",
        20,
        "0.25000,URI=\"part-2.3",
        "0.26000,URI=\"part-2.3",
    ),
    (
        "part-too-short",
        20,
        "0.25000,URI=\"part-2.2",
        "0.21000,URI=\"part-2.2",
    ),
    ("date", 20, "10:00:04.000Z", "10:00:04.020Z"),
    ("changed", 20, "10:00:04.000Z", "10:00:04.001Z"),
    ("changed", 20, "seg-1.m4s", "seg-1x.m4s"),
    ("changed", 20, "part-2.1.m4s", "part-2.1x.m4s"),
    ("changed", 20, "init-0.mp4", "init-1.mp4"),
    (
        "changed",
        20,
        "\"part-2.0.m4s\",INDEPENDENT=YES",
        "\"part-2.0.m4s\"",
    ),
    (
        "changed",
        20,
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:02",
        "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:02",
    ),
    (
        "hint-count",
        20,
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-2.4.m4s\"\n",
        "",
    ),
    ("hint-kept", 20, "URI=\"part-2.3.m4s\"", "URI=\"part-2.x.m4s\""),
    (
        "hint-listed",
        20,
        "HINT:TYPE=PART,URI=\"part-2.4.m4s\"",
        "HINT:TYPE=PART,URI=\"part-2.3.m4s\"",
    ),
    (
        "discontinuity-sequence",
        60,
        "DISCONTINUITY-SEQUENCE:0",
        "DISCONTINUITY-SEQUENCE:1",
    ),
    ("media-sequence", 70, "MEDIA-SEQUENCE:2", "MEDIA-SEQUENCE:0"),
];

#[test]
fn every_rule_catches_its_mistake() {
    for &(rule, at, right, wrong) in WRONG {
        let mut texts: Vec<String> = (at - 4..=at + 4).map(good).collect();
        let text = texts[4].replace(right, wrong);
        assert_ne!(text, texts[4], "{rule}: `{right}` is not in the playlist");
        texts[4] = text;
        let mut history = History::new("source");
        for text in &texts {
            // A date in another place may leave the syntax broken; that is the parser's test.
            if let Ok(list) = MediaPlaylist::parse(text) {
                history.observe(&list);
            }
        }
        assert!(
            history.findings.has(rule),
            "{rule} is not caught: {right} -> {wrong}\n{}",
            history.findings
        );
    }
}

#[test]
fn dates_and_near_parts_must_be_there() {
    let strip = |text: String, tag: &str| -> String {
        text.lines()
            .filter(|line| !line.starts_with(tag))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    assert!(findings(&[strip(good(20), "#EXT-X-PROGRAM-DATE-TIME")]).has("date-missing"));
    assert!(findings(&[strip(good(20), "#EXT-X-PART:")]).has("parts-missing"));
}

#[test]
fn going_back_is_caught() {
    assert!(findings(&[good(21), good(20)]).has("end-went-back"));
    let ended = good(24).replace(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-3.0.m4s\"\n",
        "#EXT-X-ENDLIST\n",
    );
    assert!(findings(std::slice::from_ref(&ended)).is_empty());
    assert!(findings(&[ended, good(25)]).has("endlist"));
}

#[test]
fn a_removed_discontinuity_must_be_counted() {
    // Media sequence 1 carries a discontinuity and leaves the window between parts 63 and 64 (6 + 1 segments).
    let mark = |text: String| {
        text.replace(
            "#EXTINF:2.00000,\nseg-1.m4s",
            "#EXT-X-DISCONTINUITY\n#EXTINF:2.00000,\nseg-1.m4s",
        )
    };
    let before = mark(good(63)).replace("part-1.", "gone-1.");
    let after = good(64);
    assert!(findings(&[before.clone(), after.clone()]).has("discontinuity-sequence"));
    let counted = after.replace("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1");
    assert!(!findings(&[before, counted]).has("discontinuity-sequence"));
}

#[test]
fn delta_updates_merge_into_the_full_playlist() {
    let (old, full) = (good(70), good(71));
    let previous = MediaPlaylist::parse(&old).expect("valid");
    let expected = MediaPlaylist::parse(&full).expect("valid");
    // Segments 2 and 3 are older than the skip boundary.
    let head = full.split_inclusive('\n').take(7).collect::<String>();
    let tail = full.split_once("seg-3.m4s\n").expect("in the window").1;
    let delta =
        MediaPlaylist::parse(&format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n{tail}")).expect("valid");
    assert_eq!(delta.skipped, 2);
    assert_eq!(delta.merged(&previous).expect("all known"), expected);
    let too_old = MediaPlaylist::parse(&good(12)).expect("valid");
    assert!(
        delta.merged(&too_old).is_err(),
        "what was never seen cannot be merged"
    );
}
