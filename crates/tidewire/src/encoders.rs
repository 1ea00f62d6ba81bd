//! Finding out, at start and beside it, what this machine can encode.

use std::path::{Path, PathBuf};

use live::{EncoderState, Encoders};
use transcode::{
    BudgetSettings, CostTable, EncodeBudget, EncoderSettings, Ffmpeg, Transcoder, load_costs, measure_costs,
    save_costs,
};

use crate::config::StreamingConfig;

/// Where measured costs are kept, in the data directory.
const COSTS_FILE: &str = "encoder-costs.json";

/// The settings of the encoders.
pub(crate) fn settings(config: &StreamingConfig) -> EncoderSettings {
    let defaults = EncoderSettings::default();
    EncoderSettings {
        preset: config.encoder.preset.clone(),
        tune: config.encoder.tune.clone().unwrap_or(defaults.tune),
        threads: config.encoder.threads.unwrap_or(defaults.threads),
    }
}

/// Proves FFmpeg and measures the machine on a thread of its own, and tells `encoders` when it is known.
pub(crate) fn find_out(
    encoders: Encoders,
    config: StreamingConfig,
    data_dir: PathBuf,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("encoder-probe".to_owned())
        .spawn(move || {
            let state = probe(&config, &data_dir).unwrap_or_else(|text| {
                tracing::warn!(
                    reason = text,
                    "no encoder: only the original quality will be offered"
                );
                EncoderState::Missing { text }
            });
            encoders.set(state);
        })?;
    Ok(())
}

fn probe(config: &StreamingConfig, data_dir: &Path) -> Result<EncoderState, String> {
    let ffmpeg = Ffmpeg::find(config.ffmpeg.as_deref()).map_err(|error| error.to_string())?;
    let settings = settings(config);
    let transcoder =
        Transcoder::start(ffmpeg.clone(), settings.clone()).map_err(|error| error.to_string())?;
    if !config.enable_abr || config.profiles.is_empty() {
        tracing::info!(ffmpeg = ffmpeg.version(), "the ladder is off by configuration");
        return Ok(EncoderState::Disabled {
            transcoder: Some(transcoder),
        });
    }
    let costs = costs(&ffmpeg, &settings, &data_dir.join(COSTS_FILE))?;
    let budget = BudgetSettings {
        rungs_max: config
            .max_rungs
            .map_or(BudgetSettings::default().rungs_max, |most| most as usize),
        ..BudgetSettings::default()
    };
    tracing::info!(
        ffmpeg = ffmpeg.version(),
        cores = costs.cores,
        "the encoder is proved"
    );
    Ok(EncoderState::Ready {
        transcoder,
        budget: EncodeBudget::new(budget, costs),
    })
}

/// The costs as kept, or measured now and kept.
pub(crate) fn costs(ffmpeg: &Ffmpeg, settings: &EncoderSettings, file: &Path) -> Result<CostTable, String> {
    if let Some(costs) = load_costs(file, ffmpeg, settings) {
        return Ok(costs);
    }
    let costs = measure_costs(ffmpeg, settings).map_err(|error| error.to_string())?;
    if let Err(error) = save_costs(file, ffmpeg, settings, &costs) {
        tracing::warn!(%error, "the encoder will be measured again at the next start");
    }
    Ok(costs)
}
