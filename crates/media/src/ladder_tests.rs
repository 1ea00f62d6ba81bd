use super::*;

fn rate(numerator: u32, denominator: u32) -> Option<FrameRate> {
    Some(FrameRate {
        numerator: NonZeroU32::new(numerator).unwrap(),
        denominator: NonZeroU32::new(denominator).unwrap(),
    })
}

fn source(width: u32, height: u32, fps: u32) -> Source {
    Source {
        width,
        height,
        pixel_aspect: (1, 1),
        frame_rate: rate(fps, 1),
        bitrate: None,
    }
}

fn sizes(rungs: &[Rung]) -> Vec<(&str, u32, u32)> {
    rungs
        .iter()
        .map(|rung| (rung.name.as_str(), rung.width, rung.height))
        .collect()
}

fn plan(source: Source, source_rung: SourceRung) -> Vec<Rung> {
    plan_ladder(&source, &default_profiles(), source_rung, &Budget::UNLIMITED)
}

#[test]
fn sizes_by_source() {
    use SourceRung::{Offered, Withheld};
    type Row = (u32, u32, SourceRung, &'static [(&'static str, u32, u32)]);
    let table: &[Row] = &[
        (
            1920,
            1080,
            Offered,
            &[("240p", 426, 240), ("480p", 854, 480), ("720p", 1280, 720)],
        ),
        (
            1920,
            1080,
            Withheld,
            &[
                ("240p", 426, 240),
                ("480p", 854, 480),
                ("720p", 1280, 720),
                ("1080p", 1920, 1080),
            ],
        ),
        (
            1080,
            1920,
            Offered,
            &[("240p", 240, 426), ("480p", 480, 854), ("720p", 720, 1280)],
        ),
        (1280, 720, Offered, &[("240p", 426, 240), ("480p", 854, 480)]),
        (640, 480, Offered, &[("240p", 320, 240)]),
        (
            1600,
            900,
            Withheld,
            &[("240p", 426, 240), ("480p", 854, 480), ("720p", 1280, 720)],
        ),
        (
            2560,
            1080,
            Offered,
            &[("240p", 568, 240), ("480p", 1138, 480), ("720p", 1706, 720)],
        ),
        (320, 180, Offered, &[]),
        (321, 181, Withheld, &[("240p", 320, 180)]),
        (
            3840,
            2160,
            Withheld,
            &[
                ("240p", 426, 240),
                ("480p", 854, 480),
                ("720p", 1280, 720),
                ("1080p", 1920, 1080),
                ("2160p", 3840, 2160),
            ],
        ),
        (0, 0, Withheld, &[]),
        (1, 1, Withheld, &[]),
    ];
    for &(width, height, source_rung, expected) in table {
        assert_eq!(
            sizes(&plan(source(width, height, 30), source_rung)),
            expected,
            "{width}x{height} {source_rung:?}"
        );
    }
}

#[test]
fn anamorphic_source_gets_square_pixels() {
    let dv = Source {
        pixel_aspect: (64, 45),
        ..source(720, 576, 25)
    };
    assert_eq!(
        sizes(&plan(dv, SourceRung::Offered)),
        [("240p", 426, 240), ("480p", 854, 480)]
    );
}

#[test]
fn explicit_width_bounds_the_long_side() {
    let profiles = [RungSpec {
        width: Some(960),
        ..RungSpec::new("wide", 720, 1_000_000)
    }];
    let rungs = plan_ladder(
        &source(1920, 1080, 30),
        &profiles,
        SourceRung::Offered,
        &Budget::UNLIMITED,
    );
    assert_eq!(sizes(&rungs), [("wide", 960, 540)]);
    let rungs = plan_ladder(
        &source(1080, 1920, 30),
        &profiles,
        SourceRung::Offered,
        &Budget::UNLIMITED,
    );
    assert_eq!(sizes(&rungs), [("wide", 540, 960)]);
}

#[test]
fn small_rungs_are_capped_to_30() {
    let table = [
        (60, 1, 2, (30, 1)),
        (60_000, 1001, 2, (30_000, 1001)),
        (50, 1, 2, (25, 1)),
        (30, 1, 1, (30, 1)),
        (30_020, 1000, 1, (30_020, 1000)),
        (120, 1, 4, (30, 1)),
        (24, 1, 1, (24, 1)),
        (45, 1, 2, (45, 2)),
    ];
    for (numerator, denominator, step, (n, d)) in table {
        let source = Source {
            frame_rate: rate(numerator, denominator),
            ..source(1920, 1080, 30)
        };
        let rungs = plan(source, SourceRung::Offered);
        assert_eq!(
            (rungs[0].frame_step, rungs[0].frame_rate),
            (step, rate(n, d)),
            "{numerator}/{denominator}"
        );
        assert_eq!(
            (rungs[1].frame_step, rungs[1].frame_rate),
            (step, rate(n, d)),
            "480p {numerator}/{denominator}"
        );
        assert_eq!(
            (rungs[2].frame_step, rungs[2].frame_rate),
            (1, source.frame_rate),
            "720p"
        );
    }
    let unknown = Source {
        frame_rate: None,
        ..source(1920, 1080, 30)
    };
    assert!(
        plan(unknown, SourceRung::Offered)
            .iter()
            .all(|rung| rung.frame_step == 1 && rung.frame_rate.is_none())
    );
}

#[test]
fn bit_rate_is_never_above_the_source() {
    let rungs = plan(
        Source {
            bitrate: Some(800_000),
            ..source(1920, 1080, 30)
        },
        SourceRung::Offered,
    );
    assert_eq!(
        rungs.iter().map(|rung| rung.bitrate).collect::<Vec<_>>(),
        [400_000, 800_000, 800_000]
    );
}

#[test]
fn budget_leaves_out_the_top() {
    let cost = |rung: &Rung| rung.height * 1000;
    let budget = Budget {
        rungs_max: 9,
        share_ppm: 720_000,
        cost_ppm: &cost,
    };
    let rungs = plan_ladder(
        &source(1920, 1080, 30),
        &default_profiles(),
        SourceRung::Offered,
        &budget,
    );
    assert_eq!(sizes(&rungs), [("240p", 426, 240), ("480p", 854, 480)]);
    let one = Budget {
        rungs_max: 1,
        ..budget
    };
    assert_eq!(
        plan_ladder(
            &source(1920, 1080, 30),
            &default_profiles(),
            SourceRung::Offered,
            &one
        )
        .len(),
        1
    );
}

#[test]
fn no_dimension_is_odd_or_above_the_source() {
    for width in (2..2200).step_by(37) {
        for height in (2..2200).step_by(41) {
            for rung in plan(source(width, height, 30), SourceRung::Withheld) {
                assert!(
                    rung.width % 2 == 0 && rung.height % 2 == 0,
                    "{width}x{height}: {rung:?}"
                );
                assert!(
                    rung.width <= width && rung.height <= height,
                    "{width}x{height}: {rung:?}"
                );
            }
        }
    }
}
