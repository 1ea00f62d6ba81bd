//! The notices of a running stream: codes and plain sentences.

use hub::{NoticeBoard, Severity};
use media::VideoCodec;
use package::Mode;

/// Only the source can be offered because nothing can encode.
pub(crate) const ENCODER_MISSING: &str = "encoder_missing";
/// FFmpeg is being proved.
pub(crate) const ENCODER_PROBING: &str = "encoder_probing";
/// The source's keyframes are too far apart.
pub(crate) const KEYFRAMES_APART: &str = "keyframes_apart";
/// Rungs that would fit the source do not fit the machine.
pub(crate) const RUNGS_LEFT_OUT: &str = "rungs_left_out";
/// Rungs were dropped while the stream ran.
pub(crate) const RUNGS_DROPPED: &str = "rungs_dropped";
/// The source is not H.264, and there is nothing else.
pub(crate) const SOURCE_ONLY: &str = "source_only";
/// The encoder's child is being replaced.
pub(crate) const ENCODER_RESTARTING: &str = "encoder_restarting";
/// The sound cannot be offered.
pub(crate) const AUDIO_UNPLAYABLE: &str = "audio_unplayable";
/// A track cannot be packaged.
pub(crate) const TRACK_UNSUPPORTED: &str = "track_unsupported";
/// There is no picture.
pub(crate) const NO_VIDEO: &str = "no_video";
/// There is no sound.
pub(crate) const NO_AUDIO: &str = "no_audio";
/// The timeline was interrupted a moment ago.
pub(crate) const TIMELINE_BROKEN: &str = "timeline_broken";

/// The broadcast is not recorded any more.
pub(crate) const RECORDING_STOPPED: &str = "recording_stopped";

pub(crate) fn mode_decided(board: &NoticeBoard, mode: Mode, gop_ms: Option<u32>, can_encode: bool) {
    let fits = gop_ms.is_some_and(|gop| gop <= 4000);
    if mode == Mode::Audio || fits {
        board.clear(KEYFRAMES_APART);
        return;
    }
    let found = match gop_ms {
        Some(gop) => format!(
            "Your encoder sends a keyframe every {}.{} s",
            gop / 1000,
            gop % 1000 / 100
        ),
        None => "Your encoder sends keyframes more than 4 s apart".to_owned(),
    };
    let effect = if can_encode {
        "every quality is re-encoded here and the original is not offered"
    } else {
        "viewers wait longer for the first picture"
    };
    board.set(
        KEYFRAMES_APART,
        Severity::Warning,
        format!("{found}, so {effect}. Set the keyframe interval to 2 s."),
    );
}

pub(crate) fn forced_cut(board: &NoticeBoard) {
    board.set(
        KEYFRAMES_APART,
        Severity::Warning,
        "Your encoder has sent no keyframe in time, so switching quality and joining take longer. Set the keyframe interval to 2 s.",
    );
}

pub(crate) fn encoder_missing(board: &NoticeBoard, text: &str) {
    board.set(
        ENCODER_MISSING,
        Severity::Warning,
        format!("Only the original quality is offered: {text}"),
    );
}

pub(crate) fn source_only(board: &NoticeBoard, codec: VideoCodec) {
    let codec = codec.as_str();
    let text = format!(
        "The encoder sends {codec} and nothing is re-encoded here: browsers without {codec} show no picture. Set H.264 to \
         reach every viewer."
    );
    board.set(SOURCE_ONLY, Severity::Warning, text);
}

pub(crate) fn left_out(board: &NoticeBoard, names: &[String]) {
    if names.is_empty() {
        board.clear(RUNGS_LEFT_OUT);
    } else {
        let text = format!(
            "This server cannot encode {} beside what it does now, so it is left out.",
            names.join(", ")
        );
        board.set(RUNGS_LEFT_OUT, Severity::Info, text);
    }
}

pub(crate) fn presence(board: &NoticeBoard, video: bool, audio: bool) {
    if video {
        board.clear(NO_VIDEO);
    } else {
        board.set(
            NO_VIDEO,
            Severity::Info,
            "This broadcast sends sound and no picture.",
        );
    }
    if audio {
        board.clear(NO_AUDIO);
    } else {
        board.set(
            NO_AUDIO,
            Severity::Info,
            "This broadcast sends a picture and no sound.",
        );
    }
}
