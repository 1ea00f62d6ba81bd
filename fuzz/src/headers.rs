//! Headers of codecs.

use bytes::Bytes;
use media::h264::{self, AccessUnit};
use media::{av1, hevc};

/// Parameter sets, records, access units: what is read once is read the same again.
pub fn h264_headers(data: &[u8]) {
    if let Ok(config) = h264::parse_config(data) {
        assert!((1..=16_880).contains(&config.width) && (1..=33_760).contains(&config.height));
        assert_eq!(h264::record_length_size(&config.record), Ok(4));
        assert_eq!(h264::parse_config(&config.record).as_ref(), Ok(&config));
        assert!(h264::record_sps(&config.record).is_ok_and(|sps| sps.reorder_depth <= 16));
    }
    let _ = h264::parse_sps(data);
    let set = [&[0x67][..], data].concat();
    let _ = h264::parse_sps(&set);
    let _ = (
        h264::is_b_slice(data),
        h264::sei_has(data, u32::from(h264::SEI_RECOVERY_POINT)),
    );
    let bytes = Bytes::copy_from_slice(data);
    for length_size in 0..6 {
        let (sample, unit) = h264::normalise(&bytes, length_size);
        assert!(sample.len() <= 4 * data.len());
        assert_eq!(
            AccessUnit::of(&sample),
            AccessUnit {
                has_parameter_sets: false,
                ..unit
            }
        );
        assert_eq!(h264::normalise(&sample, 4).0, sample);
        let mut nals = h264::nal_units(&sample);
        assert_eq!(
            nals.by_ref().map(|nal| 4 + nal.len()).sum::<usize>(),
            sample.len()
        );
        assert!(!nals.is_malformed());
    }
    let split: usize = h264::annexb_units(data).map(|nal| nal.len() + 3).sum();
    assert!(split <= data.len());
}

/// HEVC records, parameter sets and access units.
pub fn hevc_headers(data: &[u8]) {
    if let Ok(config) = hevc::parse_config(data) {
        assert!((1..=16_888).contains(&config.width) && (1..=16_888).contains(&config.height));
        assert_eq!(hevc::record_length_size(&config.record), Ok(4));
        assert_eq!(hevc::parse_config(&config.record).as_ref(), Ok(&config));
        assert!(hevc::record_sps(&config.record).is_ok_and(|sps| sps.reorder_depth <= 16));
    }
    let _ = hevc::parse_sps(data);
    let _ = hevc::parse_sps(&[&[0x42, 1][..], data].concat());
    let bytes = Bytes::copy_from_slice(data);
    for length_size in 0..6 {
        let (sample, unit) = hevc::normalise(&bytes, length_size);
        assert!(sample.len() <= 4 * data.len());
        let expected = hevc::AccessUnit {
            has_parameter_sets: false,
            ..unit
        };
        assert_eq!(hevc::normalise(&sample, 4), (sample.clone(), expected));
        let _ = hevc::ParameterSets::of_sample(data, length_size);
    }
}

/// AV1 records, sequence headers and temporal units.
pub fn av1_headers(data: &[u8]) {
    if let Ok(config) = av1::parse_config(data) {
        assert!(config.width > 0 && config.height > 0);
        assert_eq!(av1::parse_config(&config.record).as_ref(), Ok(&config));
    }
    let _ = av1::parse_sequence_header(data);
    let header = &data[..data.len().min(12)];
    let bytes = Bytes::copy_from_slice(data);
    for is_reduced in [false, true] {
        let (sample, unit) = av1::normalise(&bytes, header, is_reduced);
        assert!(sample.len() <= data.len() + header.len() + 2);
        assert_eq!(av1::normalise(&sample, header, is_reduced), (sample, unit));
    }
}

/// AudioSpecificConfig.
pub fn aac_config(data: &[u8]) {
    let Ok(config) = media::aac::parse_config(data) else {
        return;
    };
    assert!((1..=192_000).contains(&config.sample_rate.get()) && config.channels > 0);
    assert!(matches!(config.frame_samples, 960 | 1024 | 1920 | 2048));
    assert!(
        config.codec_string.starts_with("mp4a.40.") && config.record.len() <= media::aac::CONFIG_BYTES_MAX
    );
    assert_eq!(media::aac::parse_config(&config.record).as_ref(), Ok(&config));
}
