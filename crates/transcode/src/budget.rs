//! How many encodes this machine carries, shared by all streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::ladder::{Budget, Rung, RungSpec, Source, SourceRung, plan_ladder};

use crate::{BudgetSettings, CostTable};

/// The share of the machine that encoders may take, and what they have taken.
#[derive(Debug)]
pub struct EncodeBudget {
    settings: BudgetSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    costs: CostTable,
    used_ppm: u64,
}

/// What one stream may encode.
#[derive(Debug)]
pub struct Admission {
    /// The rungs, smallest first.
    pub rungs: Vec<Rung>,
    /// Names of the rungs that would fit the source but not the machine, smallest first.
    pub left_out: Vec<String>,
    /// Holds their share of the budget; give it to the ladder.
    pub permit: Permit,
}

/// A held share of the budget; given back on drop.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<EncodeBudget>,
    decode_ppm: u32,
    rungs: Vec<(String, u32)>,
}

impl EncodeBudget {
    /// A budget with nothing taken.
    pub fn new(settings: BudgetSettings, costs: CostTable) -> Arc<Self> {
        Arc::new(Self {
            settings,
            state: Mutex::new(State { costs, used_ppm: 0 }),
        })
    }

    /// Replaces the costs, for admissions from now on.
    pub fn set_costs(&self, costs: CostTable) {
        self.state().costs = costs;
    }

    /// The costs in use.
    pub fn costs(&self) -> CostTable {
        self.state().costs.clone()
    }

    /// Millionths of the machine that may be taken: at 1.5x headroom 666 666.
    pub fn limit_ppm(&self) -> u32 {
        100_000_000 / self.settings.headroom_percent.max(100)
    }

    /// Millionths of the machine that are taken.
    pub fn used_ppm(&self) -> u64 {
        self.state().used_ppm
    }

    /// Plans the ladder for `source` and takes its share.
    pub fn admit(
        self: &Arc<Self>,
        source: &Source,
        profiles: &[RungSpec],
        source_rung: SourceRung,
    ) -> Admission {
        let mut state = self.state();
        let decode_ppm = state.costs.decode_ppm(source);
        let left = u64::from(self.limit_ppm()).saturating_sub(state.used_ppm);
        let cost = |rung: &Rung| state.costs.encode_ppm(rung);
        let rungs = match left.checked_sub(u64::from(decode_ppm)) {
            Some(left) => {
                let share_ppm = u32::try_from(left).unwrap_or(u32::MAX);
                let budget = Budget {
                    rungs_max: self.settings.rungs_max,
                    share_ppm,
                    cost_ppm: &cost,
                };
                plan_ladder(source, profiles, source_rung, &budget)
            }
            None => Vec::new(),
        };
        let left_out = plan_ladder(source, profiles, source_rung, &Budget::UNLIMITED)
            .into_iter()
            .skip(rungs.len())
            .map(|rung| rung.name)
            .collect();
        let permit = Permit {
            budget: Arc::clone(self),
            decode_ppm: if rungs.is_empty() { 0 } else { decode_ppm },
            rungs: rungs.iter().map(|rung| (rung.name.clone(), cost(rung))).collect(),
        };
        state.used_ppm += permit.held_ppm();
        Admission {
            rungs,
            left_out,
            permit,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Millionths of the machine held.
    pub fn held_ppm(&self) -> u64 {
        u64::from(self.decode_ppm) + self.rungs.iter().map(|(_, cost)| u64::from(*cost)).sum::<u64>()
    }

    /// Gives back the share of one rung, and with the last rung that of the decoder.
    pub(crate) fn release(&mut self, name: &str) {
        let before = self.held_ppm();
        self.rungs.retain(|(rung, _)| rung != name);
        if self.rungs.is_empty() {
            self.decode_ppm = 0;
        }
        let freed = before - self.held_ppm();
        self.budget.state().used_ppm -= freed;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = self.held_ppm();
        self.budget.state().used_ppm -= held;
    }
}

#[cfg(test)]
mod tests {
    use media::ladder::default_profiles;

    use super::*;
    use crate::MeasuredRung;

    fn source() -> Source {
        Source {
            width: 1920,
            height: 1080,
            pixel_aspect: (1, 1),
            frame_rate: None,
            bitrate: None,
        }
    }

    /// One core; 10 ns a pixel to encode, none to decode: 240p30 takes 3 %, 480p30 12 %, 720p30 28 % of it.
    fn table() -> CostTable {
        CostTable {
            rungs: vec![MeasuredRung {
                width: 1280,
                height: 720,
                cpu_us_per_frame: 9216,
                wall_us_per_frame: 9216,
            }],
            decode_ps_per_pixel: 0,
            cores: 1,
            measured: true,
        }
    }

    #[test]
    fn admits_until_the_headroom_is_gone_and_releases() {
        let budget = EncodeBudget::new(BudgetSettings::default(), table());
        let first = budget.admit(&source(), &default_profiles(), SourceRung::Offered);
        assert_eq!(first.rungs.len(), 3);
        assert_eq!(first.left_out, Vec::<String>::new());
        let held = budget.used_ppm();
        assert!((430_000..450_000).contains(&held), "{held}");
        let mut second = budget.admit(&source(), &default_profiles(), SourceRung::Offered);
        assert_eq!(
            second
                .rungs
                .iter()
                .map(|rung| rung.name.as_str())
                .collect::<Vec<_>>(),
            ["240p", "480p"]
        );
        assert_eq!(second.left_out, ["720p"]);
        let third = budget.admit(&source(), &default_profiles(), SourceRung::Offered);
        assert_eq!(third.rungs.len(), 1);
        assert!(budget.used_ppm() <= u64::from(budget.limit_ppm()));
        second.permit.release("480p");
        second.permit.release("no such");
        drop((second, third));
        assert_eq!(budget.used_ppm(), held);
        drop(first);
        assert_eq!(budget.used_ppm(), 0);
    }

    #[test]
    fn rungs_max_and_headroom_are_kept() {
        let settings = BudgetSettings {
            headroom_percent: 1000,
            rungs_max: 8,
        };
        let tight = EncodeBudget::new(settings, table());
        assert_eq!(
            tight
                .admit(&source(), &default_profiles(), SourceRung::Offered)
                .rungs
                .len(),
            1
        );
        let one = EncodeBudget::new(
            BudgetSettings {
                rungs_max: 1,
                ..BudgetSettings::default()
            },
            table(),
        );
        let admission = one.admit(&source(), &default_profiles(), SourceRung::Offered);
        assert_eq!((admission.rungs.len(), admission.left_out.len()), (1, 2));
    }

    #[test]
    fn a_decoder_alone_that_does_not_fit_admits_nothing() {
        let table = CostTable {
            decode_ps_per_pixel: 20_000,
            ..table()
        };
        let budget = EncodeBudget::new(BudgetSettings::default(), table);
        let admission = budget.admit(&source(), &default_profiles(), SourceRung::Offered);
        assert_eq!(
            (admission.rungs.len(), admission.left_out.len(), budget.used_ppm()),
            (0, 3, 0)
        );
    }
}
