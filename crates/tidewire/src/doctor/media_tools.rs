//! FFmpeg, its encoders, and the rungs that this machine can encode.

use std::num::NonZeroU32;

use media::FrameRate;
use media::ladder::{Source, SourceRung};
use transcode::{
    BudgetSettings, CostTable, EncodeBudget, EncoderSettings, Ffmpeg, measure_costs, probe_encoders,
};

use super::Check;
use crate::config::{StreamingConfig, ValidatedConfig};

/// The source for which the rungs are counted: what most people send.
const TYPICAL_SOURCE: (u32, u32, u32) = (1920, 1080, 30);

pub(super) fn check(config: &ValidatedConfig, quick: bool) -> Vec<Check> {
    let streaming = &config.streaming;
    let ffmpeg = match Ffmpeg::find(streaming.ffmpeg.as_deref()) {
        Ok(ffmpeg) => ffmpeg,
        Err(error) if !streaming.enable_abr => {
            return vec![Check::ok(
                "ffmpeg",
                format!("{error} (not needed: `streaming.enable_abr` is false)"),
            )];
        }
        Err(error) => {
            return vec![Check::warn(
                "ffmpeg",
                error.to_string(),
                "without it viewers get the source as it is sent, in one quality and without thumbnails",
            )];
        }
    };
    let mut checks = vec![Check::ok(
        "ffmpeg",
        format!("{} at {}", ffmpeg.version(), ffmpeg.path().display()),
    )];
    if !quick {
        checks.push(encoders(&ffmpeg));
        if streaming.enable_abr {
            checks.push(rungs(&ffmpeg, streaming));
        }
    }
    checks
}

/// What really encodes a picture here. H.264 in software (libx264) is the one that must.
fn encoders(ffmpeg: &Ffmpeg) -> Check {
    let probes = probe_encoders(ffmpeg);
    let (working, broken): (Vec<_>, Vec<_>) = probes.iter().partition(|probe| probe.result.is_ok());
    let names = working
        .iter()
        .map(|probe| probe.encoder)
        .collect::<Vec<_>>()
        .join(", ");
    if working.iter().any(|probe| probe.encoder == "libx264") {
        return Check::ok("encoders", format!("{names} (each has encoded a picture)"));
    }
    let why = broken
        .iter()
        .find(|probe| probe.encoder == "libx264")
        .and_then(|probe| probe.result.as_ref().err().cloned())
        .unwrap_or_else(|| "this FFmpeg does not have it".to_owned());
    let others = if names.is_empty() {
        String::new()
    } else {
        format!("; working: {names}")
    };
    Check::warn(
        "encoders",
        format!("libx264 does not encode: {why}{others}"),
        "install an FFmpeg with libx264 (Debian, Ubuntu: apt-get install ffmpeg)",
    )
}

/// The rungs of a typical source that fit into this machine with the headroom the server keeps.
fn rungs(ffmpeg: &Ffmpeg, streaming: &StreamingConfig) -> Check {
    let settings = EncoderSettings {
        preset: streaming.encoder.preset.clone(),
        tune: streaming.encoder.tune.clone().unwrap_or_default(),
        threads: streaming.encoder.threads.unwrap_or(0),
    };
    let costs = match measure_costs(ffmpeg, &settings) {
        Ok(costs) => costs,
        Err(error) => {
            return Check::warn(
                "rungs",
                error.to_string(),
                "see what FFmpeg says above; viewers get the source only",
            );
        }
    };
    counted(costs, streaming)
}

fn counted(costs: CostTable, streaming: &StreamingConfig) -> Check {
    let defaults = BudgetSettings::default();
    let budget_settings = BudgetSettings {
        rungs_max: streaming.max_rungs.map_or(defaults.rungs_max, |max| max as usize),
        ..defaults
    };
    let (width, height, rate) = TYPICAL_SOURCE;
    let source = Source {
        width,
        height,
        pixel_aspect: (1, 1),
        frame_rate: NonZeroU32::new(rate).map(|numerator| FrameRate {
            numerator,
            denominator: NonZeroU32::MIN,
        }),
        bitrate: None,
    };
    let (cores, guessed) = (
        costs.cores,
        if costs.measured {
            ""
        } else {
            " (guessed, not measured)"
        },
    );
    let admission =
        EncodeBudget::new(budget_settings, costs).admit(&source, &streaming.profiles, SourceRung::Offered);
    let names = admission
        .rungs
        .iter()
        .map(|rung| rung.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let share = admission.permit.held_ppm() / 10_000;
    let typical = format!("{height}p{rate}");
    if admission.rungs.is_empty() {
        return Check::warn(
            "rungs",
            format!("none beside the source for one {typical} stream on {cores} cores{guessed}"),
            "take a faster `streaming.encoder.preset`, smaller `streaming.profiles`, or a stronger machine",
        );
    }
    let found =
        format!("{names} beside the source for one {typical} stream: {share} % of {cores} cores{guessed}");
    if admission.left_out.is_empty() {
        return Check::ok("rungs", found);
    }
    let missing = admission.left_out.join(", ");
    Check::warn(
        "rungs",
        format!("{found}; no room for {missing}"),
        "take a faster `streaming.encoder.preset` or a stronger machine",
    )
}
