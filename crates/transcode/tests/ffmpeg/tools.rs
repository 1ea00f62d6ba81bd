//! Probing, measuring, thumbnails, audio.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transcode::{
    CostTable, EncoderSettings, ThumbnailError, Transcoder, cached_costs, load_costs, probe_encoders,
};

use crate::support::*;

#[test]
fn software_encoder_is_proved() {
    let probes = probe_encoders(&real_ffmpeg());
    let x264 = probes.iter().find(|probe| probe.encoder == "libx264").unwrap();
    assert!(x264.result.is_ok(), "{x264:?}");
    println!("{probes:#?}");
}

#[test]
fn costs_are_measured_once_and_kept() {
    let file =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tidewire-{}-costs.json", std::process::id()));
    let (ffmpeg, settings) = (real_ffmpeg(), EncoderSettings::default());
    let started = Instant::now();
    let table = cached_costs(&file, &ffmpeg, &settings).unwrap();
    println!("{:?} {table:?}", started.elapsed());
    assert!(table.measured && table.rungs.len() >= 3);
    assert!(
        table
            .rungs
            .windows(2)
            .all(|pair| pair[0].cpu_us_per_frame < pair[1].cpu_us_per_frame),
        "{table:?}"
    );
    let again = Instant::now();
    assert_eq!(cached_costs(&file, &ffmpeg, &settings).unwrap(), table);
    assert!(again.elapsed() < Duration::from_millis(200));
    let other = EncoderSettings {
        preset: "ultrafast".to_owned(),
        ..settings.clone()
    };
    assert_eq!(load_costs(&file, &ffmpeg, &other), None);
    std::fs::write(&file, "{").unwrap();
    assert_eq!(load_costs(&file, &ffmpeg, &settings), None);
    std::fs::remove_file(&file).unwrap();
    assert!(!CostTable::guess(2).measured);
}

#[test]
fn thumbnail_of_a_part() {
    let output = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=30:d=0.2",
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-f",
            "mp4",
            "-movflags",
        ])
        .args(["empty_moov+default_base_moof+frag_keyframe", "pipe:1"])
        .output()
        .unwrap();
    let whole = Bytes::from(output.stdout);
    let moof = whole.windows(4).position(|name| name == b"moof").unwrap() - 4;
    let (init, part) = (whole.slice(..moof), whole.slice(moof..));
    let transcoder = Transcoder::start(real_ffmpeg(), EncoderSettings::default()).unwrap();
    let both = async {
        tokio::join!(
            transcoder.thumbnail(init.clone(), part.clone(), 160),
            transcoder.thumbnail(init.clone(), part.clone(), 161)
        )
    };
    let (first, second) = block_on(both);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.starts_with(&[0xff, 0xd8]) && first.ends_with(&[0xff, 0xd9]));
    assert_eq!(first, second, "an odd width is made even");
    // SOF0: height and width.
    let frame = first
        .windows(2)
        .position(|marker| marker == [0xff, 0xc0])
        .unwrap();
    assert_eq!(first[frame + 5..frame + 9], [0, 90, 0, 160]);
    let error = block_on(transcoder.thumbnail(init, Bytes::from_static(b"no part at all"), 160)).unwrap_err();
    assert!(matches!(error, ThumbnailError::Failed(_)), "{error}");
}
