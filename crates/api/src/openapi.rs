//! The OpenAPI 3.1 document, made from the operations.

use std::collections::BTreeMap;

use platform::Scope;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::operation::{Operation, Parameter, SchemaOf};
use crate::problem::Kind;

/// What the document says before it comes to the paths.
const DESCRIPTION: &str = "Tidewire's API. Reading public channels needs no token; everything else needs an admin token, \
which `tidewire token admin` prints, as `Authorization: Bearer twa_...`. Scopes: `read` looks, `publish` starts and stops \
streams and manages stream keys, `admin` does everything. Errors are `application/problem+json` with a stable `code`. Lists \
come in pages: give `next` as `after`. Times are RFC 3339, UTC.";

/// The document of these operations, the same bytes on every run.
pub(crate) fn document(operations: &[Operation]) -> Value {
    // A field that may be left out when it is sent is always there when it is answered.
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut taken = settings().for_deserialize().into_generator();
    let mut given = settings().for_serialize().into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let method = operation.method.as_str().to_ascii_lowercase();
        let described = describe(operation, &mut taken, &mut given);
        paths.entry(operation.path).or_default().insert(method, described);
    }
    let mut schemas = taken.take_definitions(true);
    schemas.extend(given.take_definitions(true));
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidewire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn describe(operation: &Operation, taken: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [tag(operation.path)],
        "parameters": parameters(operation),
        "responses": responses(operation, given),
    });
    let fields = described.as_object_mut();
    let Some(fields) = fields else { return described };
    if let Some(schema) = operation.body {
        let content = content("application/json", Some(schema), taken);
        fields.insert(
            "requestBody".to_owned(),
            json!({ "required": true, "content": content }),
        );
    }
    if let Some(scope) = operation.scope {
        fields.insert("security".to_owned(), json!([{ "token": [] }]));
        fields.insert("x-scope".to_owned(), json!(scope.as_str()));
        fields.insert("description".to_owned(), json!(scope_sentence(scope)));
    }
    described
}

fn scope_sentence(scope: Scope) -> String {
    format!("Needs a token with the scope `{}`.", scope.as_str())
}

/// What paths are grouped by: the last fixed part before a parameter, `channels` of `/api/v1/manage/channels/{name}`.
fn tag(path: &str) -> &str {
    let mut parts = path.trim_start_matches("/api").split('/').skip(2);
    match parts.next() {
        Some("manage") => parts.next().unwrap_or("manage"),
        // `/stream/start` is another name of `/streams/start`.
        Some("stream") => "streams",
        Some(part) => part,
        None => "other",
    }
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
        }))
    });
    let others = operation.parameters.iter().map(|parameter: &Parameter| {
        let schema: Value = serde_json::from_str(parameter.schema).unwrap_or(Value::Bool(true));
        let place = if parameter.is_header { "header" } else { "query" };
        json!({
            "name": parameter.name, "in": place, "required": false, "description": parameter.text, "schema": schema,
        })
    });
    in_path.chain(others).collect()
}

fn responses(operation: &Operation, given: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses = Map::new();
    let success = &operation.success;
    let mut media = Map::new();
    for (media_type, schema) in &success.bodies {
        media.extend(content(media_type, *schema, given));
    }
    let mut answer = json!({ "description": success.status.canonical_reason().unwrap_or("Success") });
    if !media.is_empty() {
        answer["content"] = Value::Object(media);
    }
    responses.insert(success.status.as_str().to_owned(), answer);
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in &operation.problems {
        let kinds = by_status.entry(kind.status.as_u16()).or_default();
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    for (status, kinds) in by_status {
        let lines: Vec<String> = kinds
            .iter()
            .map(|kind| format!("- `{}`: {}", kind.code, kind.sentence))
            .collect();
        let answer = json!({
            "description": lines.join("\n"),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        responses.insert(status.to_string(), answer);
    }
    responses
}

fn content(
    media_type: &str,
    schema: Option<SchemaOf>,
    generator: &mut SchemaGenerator,
) -> Map<String, Value> {
    let schema = schema.map_or_else(
        || json!({ "type": "string" }),
        |schema| schema(generator).to_value(),
    );
    Map::from_iter([(media_type.to_owned(), json!({ "schema": schema }))])
}

/// RFC 9457 3.
fn problem_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "description": "What went wrong (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": text("Always `about:blank`."),
            "title": text("The status in words."),
            "status": { "type": "integer", "description": "The status." },
            "code": text("Stable; what programs decide by."),
            "detail": text("A sentence for people."),
            "request_id": text("As in the header `x-request-id`."),
        },
    })
}
