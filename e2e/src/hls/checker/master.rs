//! The multivariant playlist against what was measured.

use std::collections::BTreeMap;

use super::Followed;
use super::follow::resolve;
use crate::hls::Findings;
use crate::hls::playlist::Variant;
use crate::http::Response;

/// FRAME-RATE may differ from the measured rate by this part (thousandths): a count over a few seconds is no exact rate.
const FRAME_RATE_TOLERANCE_MILLI: u64 = 40;

pub(super) fn headers(response: &Response, path: &str, findings: &mut Findings) {
    let kind = response.header("content-type").unwrap_or_default();
    findings.require(
        kind.starts_with("application/vnd.apple.mpegurl"),
        "content-type",
        path,
        || format!("{kind:?}"),
    );
    let cors = response.header("access-control-allow-origin");
    findings.require(cors.is_some(), "cors", path, || {
        "no Access-Control-Allow-Origin".into()
    });
    let cache = response.header("cache-control").unwrap_or_default();
    findings.require(
        !cache.is_empty() && !cache.contains("immutable"),
        "cache-playlist",
        path,
        || format!("{cache:?}"),
    );
}

/// CODECS, RESOLUTION, FRAME-RATE, BANDWIDTH and AVERAGE-BANDWIDTH are what the media is.
pub(super) fn truth(
    path: &str,
    variants: &[Variant],
    renditions: &BTreeMap<String, Followed>,
    findings: &mut Findings,
) {
    let followed = |variant: &Variant| renditions.get(&resolve(path, &variant.uri));
    for variant in variants.iter().filter(|variant| !variant.is_audio_media) {
        let Some(video) = followed(variant) else { continue };
        let Some(init) = &video.init else { continue };
        let audio = variants
            .iter()
            .filter(|other| other.is_audio_media && other.audio_group == variant.audio_group)
            .find_map(followed);
        let at = variant.uri.as_str();
        let mut codecs = vec![init.codec.clone()];
        codecs.extend(
            audio
                .and_then(|audio| audio.init.as_ref())
                .map(|init| init.codec.clone()),
        );
        let mut said = variant.codecs.clone();
        said.sort();
        codecs.sort();
        findings.require(said == codecs, "codecs", at, || {
            format!("CODECS says {said:?}, the inits say {codecs:?}")
        });
        if init.handler == "vide" {
            let size = Some((init.width, init.height));
            findings.require(variant.resolution == size, "resolution", at, || {
                format!("RESOLUTION says {:?}, the init says {size:?}", variant.resolution)
            });
            frame_rate(at, variant, video, findings);
        }
        bandwidth(at, variant, video, audio, findings);
    }
}

fn frame_rate(at: &str, variant: &Variant, video: &Followed, findings: &mut Findings) {
    let samples: u64 = video.media.segments.values().map(|facts| facts.samples).sum();
    let micros: i64 = video.media.segments.values().map(|facts| facts.duration_us).sum();
    let (Some(said), Ok(micros)) = (variant.frame_rate_milli, u64::try_from(micros)) else {
        return findings.require(variant.frame_rate_milli.is_some(), "frame-rate", at, || {
            "no FRAME-RATE".into()
        });
    };
    if micros < 1_000_000 {
        return;
    }
    let measured = samples * 1_000_000_000 / micros;
    findings.require(
        said.abs_diff(measured) * 1000 <= measured * FRAME_RATE_TOLERANCE_MILLI,
        "frame-rate",
        at,
        || format!("FRAME-RATE says {said} mHz, measured {measured} mHz"),
    );
}

/// RFC 8216bis 4.4.6.2: BANDWIDTH bounds the peak segment bit rate of the variant with its renditions.
fn bandwidth(
    at: &str,
    variant: &Variant,
    video: &Followed,
    audio: Option<&Followed>,
    findings: &mut Findings,
) {
    let target = video.target_us;
    let rate = |bytes: u64, micros: i64| bytes * 8_000_000 / u64::try_from(micros.max(1)).unwrap_or(1);
    let (mut peak, mut bytes, mut micros) = (0, 0, 0);
    for (msn, facts) in &video.media.segments {
        let with_audio = audio
            .and_then(|audio| audio.media.segments.get(msn))
            .map_or(0, |facts| facts.bytes);
        bytes += facts.bytes + with_audio;
        micros += facts.duration_us;
        if facts.duration_us * 2 >= target {
            peak = peak.max(rate(facts.bytes + with_audio, facts.duration_us));
        }
    }
    // A thousandth for the rounding of durations.
    findings.require(
        variant.bandwidth + variant.bandwidth / 1000 >= peak,
        "bandwidth",
        at,
        || {
            format!(
                "BANDWIDTH says {} bit/s, the largest segment has {peak} bit/s",
                variant.bandwidth
            )
        },
    );
    let average = rate(bytes, micros);
    if let Some(said) = variant.average_bandwidth {
        let near = said * 100 >= average * 80 && said <= variant.bandwidth;
        findings.require(near, "average-bandwidth", at, || {
            format!(
                "AVERAGE-BANDWIDTH says {said} bit/s, measured {average}, BANDWIDTH {}",
                variant.bandwidth
            )
        });
    }
}
