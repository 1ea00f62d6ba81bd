//! Channels.

use http::{Method, StatusCode};
use platform::{Channel, Scope};

use super::Management;
use super::views::{ChannelChange, ChannelMade, List, Managed, NewChannel};
use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};
use crate::time::rfc3339_ms;

const CHANNELS: &str = "/api/v1/manage/channels";
const CHANNEL: &str = "/api/v1/manage/channels/{name}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            CHANNELS,
            "listManagedChannels",
            "List the channels by name, private ones included",
        )
        .scope(Scope::Read)
        .paged()
        .json(StatusCode::OK, list),
        operation(
            Method::POST,
            CHANNELS,
            "createChannel",
            "Make a channel and its first stream key",
        )
        .scope(Scope::Admin)
        .once()
        .refuses(&[
            problem::NAME_INVALID,
            problem::CHANNEL_EXISTS,
            problem::LIMIT_REACHED,
        ])
        .takes_json(StatusCode::CREATED, create),
        operation(Method::GET, CHANNEL, "getManagedChannel", "Show a channel")
            .scope(Scope::Read)
            .refuses(&[problem::CHANNEL_NOT_FOUND])
            .json(StatusCode::OK, show),
        operation(Method::PATCH, CHANNEL, "changeChannel", "Change a channel")
            .scope(Scope::Admin)
            .refuses(&[problem::CHANNEL_NOT_FOUND])
            .takes_json(StatusCode::OK, change),
        operation(
            Method::DELETE,
            CHANNEL,
            "removeChannel",
            "Remove a channel with its keys and its history; what is live there ends",
        )
        .scope(Scope::Admin)
        .refuses(&[problem::CHANNEL_NOT_FOUND])
        .empty(StatusCode::NO_CONTENT, remove),
    ]
}

fn managed(management: &Management, channel: Channel) -> Managed {
    Managed {
        channel: management.control.view(&channel),
        id: channel.id,
        name: channel.name,
        private: channel.private,
        created_at: rfc3339_ms(channel.created_at_ms),
    }
}

async fn list(call: Call) -> Result<List<Managed>, Problem> {
    let limit = call.limit()?;
    let (management, after) = (call.managed(), call.query("after").unwrap_or(""));
    let channels = management.platform.list_channels_after(after, limit + 1).await?;
    let page = List::page(channels, limit, |channel| channel.name.clone());
    Ok(page.map(|channel| managed(management, channel)))
}

async fn create(call: Call, new: NewChannel) -> Result<ChannelMade, Problem> {
    let management = call.managed();
    let made = management
        .platform
        .create_channel_with_key(&new.name, new.private);
    let (channel, key) = made.await?;
    Ok(ChannelMade {
        channel: managed(management, channel),
        key: key.into(),
    })
}

async fn show(call: Call) -> Result<Managed, Problem> {
    let management = call.managed();
    let channel = management.platform.channel(call.part("name")).await?;
    Ok(managed(management, channel))
}

async fn change(call: Call, change: ChannelChange) -> Result<Managed, Problem> {
    let (management, name) = (call.managed(), call.part("name"));
    let channel = match change.private {
        Some(private) => management.platform.set_channel_private(name, private).await?,
        None => management.platform.channel(name).await?,
    };
    Ok(managed(management, channel))
}

async fn remove(call: Call) -> Result<(), Problem> {
    let platform = &call.managed().platform;
    platform.remove_channel(call.part("name")).await?;
    Ok(())
}
