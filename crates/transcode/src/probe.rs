//! Which encoders really work here.

use std::time::Duration;

use crate::Ffmpeg;
use crate::oneshot::run;

/// Longest time for one encoder.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One encoder, tried by encoding one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderProbe {
    /// FFmpeg's name of it.
    pub encoder: &'static str,
    /// Time of the test encode. `Err`: why it does not work, in FFmpeg's words.
    pub result: Result<Duration, String>,
}

const SOFTWARE: (&[&str], &str) = (&[], "format=yuv420p");
const VAAPI: (&[&str], &str) = (
    &[
        "-init_hw_device",
        "vaapi=va:/dev/dri/renderD128",
        "-filter_hw_device",
        "va",
    ],
    "format=nv12,hwupload",
);
const QSV: (&[&str], &str) = (
    &["-init_hw_device", "qsv=hw", "-filter_hw_device", "hw"],
    "format=nv12,hwupload=extra_hw_frames=16",
);

/// H.264 encoders with the device options and filter that each needs. FFmpeg's own list names encoders that cannot
/// work on the machine, so each is tried.
const TABLE: [(&str, (&[&str], &str)); 5] = [
    ("libx264", SOFTWARE),
    ("libopenh264", SOFTWARE),
    ("h264_nvenc", SOFTWARE),
    ("h264_vaapi", VAAPI),
    ("h264_qsv", QSV),
];

/// Tries all encoders of the table at the same time, at most 10 s. Blocks: call it from a thread that may.
pub fn probe_encoders(ffmpeg: &Ffmpeg) -> Vec<EncoderProbe> {
    std::thread::scope(|scope| {
        let probes = TABLE.map(|(encoder, how)| (encoder, scope.spawn(move || probe(ffmpeg, encoder, how))));
        let joined = probes.map(|(encoder, probe)| EncoderProbe {
            encoder,
            result: probe
                .join()
                .unwrap_or_else(|_| Err("the probe failed".to_owned())),
        });
        joined.into()
    })
}

fn probe(ffmpeg: &Ffmpeg, encoder: &str, (device, filter): (&[&str], &str)) -> Result<Duration, String> {
    let mut args = vec!["-hide_banner", "-nostdin", "-loglevel", "error"];
    args.extend(device);
    args.extend([
        "-f",
        "lavfi",
        "-i",
        "color=black:s=640x360:r=30:d=0.1",
        "-vf",
        filter,
        "-frames:v",
        "1",
    ]);
    args.extend(["-c:v", encoder, "-f", "null", "-"]);
    run(ffmpeg.path(), &args, Vec::new(), TIMEOUT).map(|ran| ran.wall)
}
