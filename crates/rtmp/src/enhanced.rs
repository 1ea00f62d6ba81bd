//! What both ends can do beyond RTMP 1.0 (Enhanced RTMP v2, "Enhancing NetConnection connect Command").

use crate::amf::Value;

/// FourCcInfoMask CanForward: a server that hands a codec on.
const CAN_FORWARD: f64 = 4.0;
/// FourCCs of one kind that are kept of what a peer offers.
const FOUR_CCS_MAX: usize = 32;
/// Bytes of a FourCC, or of `*` for all.
const FOUR_CC_BYTES_MAX: usize = 4;

/// CapsExMask.
pub mod caps_ex {
    /// NetConnection.Connect.ReconnectRequest is understood.
    pub const RECONNECT: u32 = 1;
    /// Several tracks of a kind.
    pub const MULTITRACK: u32 = 2;
    /// ModEx packets.
    pub const MOD_EX: u32 = 4;
}

/// What a server takes: it is told to peers that ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// FourCCs of video codecs.
    pub video_four_ccs: &'static [&'static str],
    /// FourCCs of audio codecs.
    pub audio_four_ccs: &'static [&'static str],
    /// A sum of [`caps_ex`].
    pub caps_ex: u32,
}

/// What a peer offers in `connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// `fourCcList`: version 1 of the specification.
    pub four_cc_list: Vec<String>,
    /// Keys of `videoFourCcInfoMap`; `*` is any.
    pub video_four_ccs: Vec<String>,
    /// Keys of `audioFourCcInfoMap`; `*` is any.
    pub audio_four_ccs: Vec<String>,
    /// `capsEx`, 0 if it is not there.
    pub caps_ex: u32,
}

impl Offer {
    /// From the command object.
    pub(crate) fn read(object: Option<&Value>) -> Self {
        let get = |key| object.and_then(|object| object.get(key));
        let four_cc_list = match get("fourCcList") {
            Some(Value::StrictArray(list)) => four_ccs(list.iter().filter_map(Value::as_str)),
            _ => Vec::new(),
        };
        let map = |key| match get(key) {
            Some(Value::Object(entries) | Value::EcmaArray(entries)) => {
                four_ccs(entries.iter().map(|(key, _)| key.as_str()))
            }
            _ => Vec::new(),
        };
        Self {
            four_cc_list,
            video_four_ccs: map("videoFourCcInfoMap"),
            audio_four_ccs: map("audioFourCcInfoMap"),
            // A number beyond 32 bits or none at all has no meaning: casting saturates.
            caps_ex: get("capsEx").and_then(Value::as_number).unwrap_or(0.0) as u32,
        }
    }

    /// The peer speaks Enhanced RTMP.
    pub fn is_enhanced(&self) -> bool {
        *self != Self::default()
    }

    /// The properties that answer it. A peer that offers nothing gets none, as it may be older than they are.
    pub(crate) fn answer(&self, own: &Capabilities) -> Vec<(String, Value)> {
        let mut answer = Vec::new();
        if !self.is_enhanced() {
            return answer;
        }
        let map = |four_ccs: &[&str]| {
            let entries = four_ccs
                .iter()
                .map(|code| ((*code).to_owned(), CAN_FORWARD.into()));
            Value::Object(entries.collect())
        };
        let all = own.video_four_ccs.iter().chain(own.audio_four_ccs);
        let list = all.map(|code| Value::from(*code)).collect();
        answer.push(("fourCcList".to_owned(), Value::StrictArray(list)));
        answer.push(("videoFourCcInfoMap".to_owned(), map(own.video_four_ccs)));
        answer.push(("audioFourCcInfoMap".to_owned(), map(own.audio_four_ccs)));
        answer.push(("capsEx".to_owned(), f64::from(own.caps_ex).into()));
        answer
    }
}

fn four_ccs<'a>(codes: impl Iterator<Item = &'a str>) -> Vec<String> {
    codes
        .filter(|code| code.len() <= FOUR_CC_BYTES_MAX)
        .take(FOUR_CCS_MAX)
        .map(ToOwned::to_owned)
        .collect()
}
