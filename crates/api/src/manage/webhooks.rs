//! Webhooks and the log of what was sent to them.

use bytes::Bytes;
use http::{Method, StatusCode};
use platform::{Event, EventType, Scope, WebhookChange};

use super::views::{DeliveryView, EventView, List, NewWebhook, WebhookMade, WebhookPatch, WebhookView};
use crate::operation::{Call, Operation, operation};
use crate::problem::{self, Problem};
use crate::time::rfc3339_ms;
use crate::webhook::{check_url, secret_text};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/api/v1/webhooks",
            "listWebhooks",
            "List the webhooks, oldest first",
        )
        .scope(Scope::Read)
        .paged()
        .json(StatusCode::OK, list),
        operation(
            Method::POST,
            "/api/v1/webhooks",
            "createWebhook",
            "Have events posted to a URL from now on",
        )
        .scope(Scope::Admin)
        .once()
        .refuses(&[
            problem::LABEL_INVALID,
            problem::LIMIT_REACHED,
            problem::URL_INVALID,
        ])
        .takes_json(StatusCode::CREATED, create),
        operation(
            Method::GET,
            "/api/v1/webhooks/{id}",
            "getWebhook",
            "Show a webhook",
        )
        .scope(Scope::Read)
        .refuses(&[problem::WEBHOOK_NOT_FOUND])
        .json(StatusCode::OK, show),
        operation(
            Method::PATCH,
            "/api/v1/webhooks/{id}",
            "changeWebhook",
            "Change a webhook; one that is enabled again is told of what happens from then on",
        )
        .scope(Scope::Admin)
        .refuses(&[problem::WEBHOOK_NOT_FOUND, problem::URL_INVALID])
        .takes_json(StatusCode::OK, change),
        operation(
            Method::DELETE,
            "/api/v1/webhooks/{id}",
            "removeWebhook",
            "Remove a webhook with its log",
        )
        .scope(Scope::Admin)
        .refuses(&[problem::WEBHOOK_NOT_FOUND])
        .empty(StatusCode::NO_CONTENT, remove),
        operation(
            Method::GET,
            "/api/v1/webhooks/{id}/deliveries",
            "listDeliveries",
            "List what was sent to a webhook, newest first",
        )
        .scope(Scope::Read)
        .paged()
        .refuses(&[problem::WEBHOOK_NOT_FOUND])
        .json(StatusCode::OK, deliveries),
        operation(
            Method::POST,
            "/api/v1/webhooks/{id}/deliveries/{delivery}/replay",
            "replayDelivery",
            "Send an event again",
        )
        .scope(Scope::Admin)
        .refuses(&[problem::DELIVERY_NOT_FOUND])
        .empty(StatusCode::ACCEPTED, replay),
    ]
}

/// What is posted: Standard Webhooks' `type`, `timestamp` and `data`, which is the event as the API shows it.
pub(crate) fn event_body(event: Event) -> Bytes {
    let (kind, timestamp) = (event.kind.clone(), rfc3339_ms(event.at_ms));
    let body = serde_json::json!({ "type": kind, "timestamp": timestamp, "data": EventView::from(event) });
    Bytes::from(body.to_string())
}

fn types(names: &[String]) -> Result<Vec<EventType>, Problem> {
    let parse = |name: &String| {
        EventType::parse(name).ok_or_else(|| {
            let shown: String = name.chars().take(50).collect();
            let detail = format!("`{shown}` is not the type of any event; the document lists them.");
            Problem::said(problem::BODY_INVALID, detail)
        })
    };
    names.iter().map(parse).collect()
}

fn checked(url: &str) -> Result<(), Problem> {
    if check_url(url) {
        Ok(())
    } else {
        Err(problem::URL_INVALID.into())
    }
}

async fn list(call: Call) -> Result<List<WebhookView>, Problem> {
    let limit = call.limit()?;
    let all = call.managed().platform.list_webhooks().await?;
    let page = List::page_of_all(all, call.query("after"), limit, |webhook| webhook.id.clone());
    Ok(page.map(WebhookView::from))
}

async fn create(call: Call, new: NewWebhook) -> Result<WebhookMade, Problem> {
    checked(&new.url)?;
    let events = types(&new.events)?;
    let platform = &call.managed().platform;
    let webhook = platform.create_webhook(&new.url, &new.label, &events).await?;
    Ok(WebhookMade {
        secret: secret_text(platform, &webhook.id),
        webhook: webhook.into(),
    })
}

async fn show(call: Call) -> Result<WebhookView, Problem> {
    Ok(call.managed().platform.webhook(call.part("id")).await?.into())
}

async fn change(call: Call, patch: WebhookPatch) -> Result<WebhookView, Problem> {
    patch.url.as_deref().map(checked).transpose()?;
    let change = WebhookChange {
        url: patch.url,
        events: patch.events.as_deref().map(types).transpose()?,
        enabled: patch.enabled,
    };
    let platform = &call.managed().platform;
    Ok(platform.change_webhook(call.part("id"), change).await?.into())
}

async fn remove(call: Call) -> Result<(), Problem> {
    Ok(call.managed().platform.remove_webhook(call.part("id")).await?)
}

async fn deliveries(call: Call) -> Result<List<DeliveryView>, Problem> {
    let (limit, platform) = (call.limit()?, &call.managed().platform);
    let log = platform
        .list_deliveries(call.part("id"), call.query("after"), limit + 1)
        .await?;
    let page = List::page(log, limit, |delivery| delivery.id.clone());
    Ok(page.map(DeliveryView::from))
}

async fn replay(call: Call) -> Result<(), Problem> {
    let management = call.managed();
    let replayed = management
        .platform
        .replay_delivery(call.part("id"), call.part("delivery"));
    Ok(replayed.await?)
}
