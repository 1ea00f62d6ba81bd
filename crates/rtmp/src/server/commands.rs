//! Commands and data messages (specification 7.2), with the dialect that encoders speak.

use bytes::BytesMut;

use super::{
    CHUNK_BYTES, ConnectInfo, Event, Output, Phase, PublishRequest, ServerSession, WINDOW_ACK_BYTES,
};
use crate::amf::Value;
use crate::message::{self, types};
use crate::{Error, Offer};

/// `Set Peer Bandwidth` limit type "dynamic" (5.4.5).
const LIMIT_DYNAMIC: u8 = 2;

impl ServerSession {
    pub(super) fn handle_command(&mut self, stream: u32, values: Vec<Value>) -> Result<(), Error> {
        let Some(name) = values.first().and_then(Value::as_str) else {
            return Err(Error::Malformed { what: "command" });
        };
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        if self.connect.is_none() && name != "connect" {
            let command = name.to_owned();
            return Err(Error::Command {
                command,
                why: "the first command is connect",
            });
        }
        // Encoders put the stream's name third, behind a null.
        let argument = values.get(3).and_then(Value::as_str).unwrap_or_default();
        match name {
            "connect" => self.connect(transaction, values.get(2))?,
            "createStream" => self.create_stream(transaction)?,
            "publish" => self.publish(stream, argument)?,
            "releaseStream" | "_checkbw" | "checkBandwidth" | "getStreamLength" => {
                self.reply(transaction, &[Value::Null, Value::Undefined]);
            }
            "FCPublish" => self.notify("onFCPublish", "NetStream.Publish.Start", argument),
            "FCUnpublish" => {
                self.notify("onFCUnpublish", "NetStream.Unpublish.Success", argument);
                self.unpublish();
            }
            "deleteStream" | "closeStream" => self.unpublish(),
            "play" | "play2" | "FCSubscribe" => self.refuse_play(stream),
            _ => self.unknown(transaction),
        }
        Ok(())
    }

    pub(super) fn handle_data(&mut self, timestamp: u32, values: Vec<Value>) {
        let mut values = values.into_iter();
        let mut name = values.next();
        // `@setDataFrame` says that the server should keep what follows for later joiners.
        if name.as_ref().and_then(Value::as_str) == Some("@setDataFrame") {
            name = values.next();
        }
        let Some(Value::String(name)) = name else {
            self.stats.ignored_messages += 1;
            return;
        };
        if !self.is_publishing() || name == "@clearDataFrame" {
            self.stats.ignored_messages += 1;
            return;
        }
        let event = if name == "onMetaData" {
            match values.next() {
                Some(Value::Object(properties) | Value::EcmaArray(properties)) => Event::Metadata(properties),
                _ => return,
            }
        } else {
            let timestamp_ms = self.unwrapper.unwrap(timestamp);
            Event::Data {
                name,
                timestamp_ms,
                values: values.collect(),
            }
        };
        self.output.push_back(Output::Event(event));
    }

    fn connect(&mut self, transaction: f64, object: Option<&Value>) -> Result<(), Error> {
        if self.connect.is_some() {
            return Err(Error::Command {
                command: "connect".into(),
                why: "the connection has one already",
            });
        }
        let text = |key| {
            object
                .and_then(|object| object.get(key))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let info = ConnectInfo {
            app: text("app").trim_matches('/').to_owned(),
            tc_url: text("tcUrl").to_owned(),
            flash_version: text("flashVer").to_owned(),
            offer: Offer::read(object),
        };
        let encoding = object
            .and_then(|object| object.get("objectEncoding"))
            .and_then(Value::as_number);
        let mut properties = vec![
            ("fmsVer".to_owned(), "FMS/3,5,3,888".into()),
            ("capabilities".to_owned(), 127.0.into()),
        ];
        properties.extend(info.offer.answer(&self.capabilities));
        let properties = Value::Object(properties);
        let information = Value::object([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "Connection succeeded.".into()),
            ("objectEncoding", encoding.unwrap_or(0.0).into()),
        ]);
        let mut out = BytesMut::new();
        self.write_control(&mut out, types::WINDOW_ACK_SIZE, &WINDOW_ACK_BYTES.to_be_bytes());
        let [a, b, c, d] = WINDOW_ACK_BYTES.to_be_bytes();
        self.write_control(&mut out, types::SET_PEER_BANDWIDTH, &[a, b, c, d, LIMIT_DYNAMIC]);
        self.write_control(
            &mut out,
            types::SET_CHUNK_SIZE,
            &(CHUNK_BYTES as u32).to_be_bytes(),
        );
        self.writer.set_chunk_bytes(CHUNK_BYTES);
        let payload = message::command("_result", transaction, &[properties, information]);
        self.write_command(&mut out, 0, &payload);
        self.send(out);
        self.connect = Some(info.clone());
        self.output.push_back(Output::Event(Event::Connected(info)));
        Ok(())
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), Error> {
        if self.streams_created >= self.limits.message_streams_max {
            return Err(Error::Command {
                command: "createStream".into(),
                why: "too many streams",
            });
        }
        self.streams_created += 1;
        self.reply(
            transaction,
            &[Value::Null, f64::from(self.streams_created).into()],
        );
        Ok(())
    }

    fn publish(&mut self, stream: u32, name: &str) -> Result<(), Error> {
        if self.is_publishing() {
            let mut out = BytesMut::new();
            let sentence = "This connection publishes already.";
            self.write_status(&mut out, stream, "error", "NetStream.Publish.BadName", sentence);
            self.send(out);
            return Ok(());
        }
        let info = self.connect.clone().unwrap_or_default();
        let (app, stream_key, query) = split_name(&info.app, name);
        let request = PublishRequest {
            app,
            stream_key,
            query,
            flash_version: info.flash_version,
        };
        self.phase = Phase::Asked { stream };
        self.output
            .push_back(Output::Event(Event::PublishRequested(request)));
        Ok(())
    }

    fn unpublish(&mut self) {
        let Phase::Publishing { stream } = self.phase else {
            return;
        };
        self.phase = Phase::Open;
        let mut out = BytesMut::new();
        self.write_status(
            &mut out,
            stream,
            "status",
            "NetStream.Unpublish.Success",
            "Publishing has ended.",
        );
        self.send(out);
        self.output.push_back(Output::Event(Event::Unpublished));
    }

    fn refuse_play(&mut self, stream: u32) {
        let mut out = BytesMut::new();
        let sentence =
            "This server takes streams over RTMP but does not play them; open its watch page, HLS or DASH.";
        self.write_status(&mut out, stream, "error", "NetStream.Play.Failed", sentence);
        self.send(out);
        if !self.is_publishing() {
            self.output.push_back(Output::Event(Event::PlayRefused));
            self.close();
        }
    }

    /// Calls that want an answer get one; encoders go on either way.
    fn unknown(&mut self, transaction: f64) {
        self.stats.ignored_messages += 1;
        if transaction > 0.0 {
            let information = message::status("error", "NetConnection.Call.Failed", "Unknown method.");
            let payload = message::command("_error", transaction, &[Value::Null, information]);
            self.send_command(&payload);
        }
    }

    fn reply(&mut self, transaction: f64, values: &[Value]) {
        let payload = message::command("_result", transaction, values);
        self.send_command(&payload);
    }

    fn notify(&mut self, name: &str, code: &str, description: &str) {
        let information = Value::object([("code", code.into()), ("description", description.into())]);
        let payload = message::command(name, 0.0, &[Value::Null, information]);
        self.send_command(&payload);
    }

    fn send_command(&mut self, payload: &[u8]) {
        let mut out = BytesMut::new();
        self.write_command(&mut out, 0, payload);
        self.send(out);
    }
}

/// Application, key and query from what `connect` and `publish` say.
///
/// `live` + `KEY?a=b`; an encoder whose key field is empty has all in the address: `live/KEY` + ``.
fn split_name(app: &str, name: &str) -> (String, String, String) {
    let (app, app_query) = app.split_once('?').unwrap_or((app, ""));
    let (name, query) = name.split_once('?').unwrap_or((name, app_query));
    let (app, name) = (app.trim_matches('/'), name.trim_matches('/'));
    if !name.is_empty() {
        // A whole path in the key field: its last part is the key.
        let key = name.rsplit('/').next().unwrap_or(name);
        return (app.to_owned(), key.to_owned(), query.to_owned());
    }
    let (app, key) = app.rsplit_once('/').unwrap_or((app, ""));
    (app.to_owned(), key.to_owned(), query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::split_name;

    #[test]
    fn keys_are_found_wherever_encoders_put_them() {
        for (app, name, expected) in [
            ("live", "KEY", ("live", "KEY", "")),
            ("live/", "KEY?a=b", ("live", "KEY", "a=b")),
            ("live/KEY", "", ("live", "KEY", "")),
            ("live/KEY?x=1", "", ("live", "KEY", "x=1")),
            ("live?x=1", "KEY", ("live", "KEY", "x=1")),
            ("live", "/live/KEY", ("live", "KEY", "")),
            ("live", "", ("live", "", "")),
            ("", "", ("", "", "")),
        ] {
            let (app, key, query) = split_name(app, name);
            assert_eq!((app.as_str(), key.as_str(), query.as_str()), expected);
        }
    }
}
