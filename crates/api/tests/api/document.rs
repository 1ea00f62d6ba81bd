//! The OpenAPI document against the router and against its golden.

use std::path::Path;

use serde_json::Value;

use crate::manage::Office;
use crate::{get, json};

#[tokio::test]
async fn the_document_is_its_golden() {
    let office = Office::new().await;
    let document = json(get(&office.router, "/api/v1/openapi.json").await).await;
    assert_eq!(document, office.api.document());
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs; UPDATE=1 rewrites it", path.display());
}

#[tokio::test]
async fn every_documented_operation_is_routed_and_guarded() {
    let office = Office::new().await;
    let document = office.api.document();
    let mut ids = std::collections::BTreeSet::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        let path = template
            .replace("{name}", "demo")
            .replace("{id}", "x")
            .replace("{delivery}", "y");
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let response = office.send(None, &method.to_uppercase(), &path, None).await;
            let status = response.status().as_u16();
            let has_origin = response.headers().contains_key("access-control-allow-origin");
            if operation.get("security").is_some() {
                assert_eq!(status, 401, "{method} {template}");
                assert_eq!(response.headers()["www-authenticate"], "Bearer");
                assert!(!has_origin, "{method} {template} is open to foreign pages");
                let preflight = office.send(None, "OPTIONS", &path, None).await;
                let headers = preflight.headers();
                // The same path may also have a method that everybody may use.
                let is_open = methods
                    .as_object()
                    .unwrap()
                    .values()
                    .any(|m| m.get("security").is_none());
                assert_eq!(is_open, headers.contains_key("access-control-allow-origin"));
            } else {
                // Nothing has the id `x`, and nothing was sent where something is wanted.
                let expected = if operation.get("requestBody").is_some() {
                    400
                } else if template.contains("{id}") {
                    404
                } else {
                    200
                };
                assert_eq!(status, expected, "{method} {template}");
                assert!(has_origin, "{method} {template}");
            }
        }
    }
    // A method that the document does not name is refused, and the answer says which there are.
    let response = office.send(None, "PUT", "/api/v1/me", None).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET,HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn references_lead_somewhere() {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| walk(field, found));
            }
            Value::Array(entries) => entries.iter().for_each(|entry| walk(entry, found)),
            _ => {}
        }
    }
    let document = Office::new().await.api.document();
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_docs_page_loads_only_from_here() {
    let office = Office::new().await;
    for (path, content_type) in [
        ("/api/docs", "text/html; charset=utf-8"),
        ("/api/docs/page.css", "text/css; charset=utf-8"),
        ("/api/docs/page.js", "text/javascript; charset=utf-8"),
    ] {
        let response = get(&office.router, path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], content_type);
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    }
}
