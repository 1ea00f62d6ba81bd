// Renders /api/v1/openapi.json. Text enters the page as text only.

const METHODS = ["get", "post", "patch", "put", "delete"];

/** An element with attributes and children; a string becomes text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const nameOf = (reference) => reference.split("/").at(-1);

/** The words for a schema: `string (date-time)`, `array of Key`, `Key`. */
function words(schema) {
  if (!schema || schema === true) return "anything";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(words).join(" | ");
  if (schema.type === "array") return `array of ${words(schema.items)}`;
  const type = [schema.type ?? "object"].flat().join(" | ");
  return schema.format ? `${type} (${schema.format})` : type;
}

function fields(schema) {
  const properties = Object.entries(schema?.properties ?? {});
  if (properties.length === 0) return null;
  const required = new Set(schema.required ?? []);
  const list = element("dl");
  for (const [name, field] of properties) {
    const kind = `${words(field)}${required.has(name) ? "" : ", may be left out"}`;
    list.append(element("dt", {}, element("code", {}, name), ` ${kind}`), element("dd", {}, field.description ?? ""));
  }
  return list;
}

function body(heading, content, schemas) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => [
    element("h4", {}, `${heading}: ${type}, ${words(schema)}`),
    fields(schema?.$ref ? schemas[nameOf(schema.$ref)] : schema),
  ]);
}

function example(path, method, operation) {
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}http://localhost:8080${path}`];
  if (operation.security) lines.push("  -H \"Authorization: Bearer $TOKEN\"");
  if (operation.requestBody) lines.push("  --json '{...}'");
  return element("pre", { tabindex: "0" }, lines.join(" \\\n"));
}

function article(path, method, operation, schemas) {
  const scope = operation["x-scope"];
  const parts = [
    element("h3", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path)),
    element("p", {}, `${operation.summary}. `, scope ? element("span", { class: "scope" }, `scope ${scope}`) : null),
    example(path, method, operation),
  ];
  if (operation.parameters?.length) {
    const list = element("dl");
    for (const parameter of operation.parameters) {
      const kind = ` in ${parameter.in}, ${words(parameter.schema)}`;
      list.append(element("dt", {}, element("code", {}, parameter.name), kind), element("dd", {}, parameter.description ?? ""));
    }
    parts.push(element("h4", {}, "Parameters"), list);
  }
  parts.push(...body("Takes", operation.requestBody?.content, schemas));
  const refusals = element("dl");
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (status.startsWith("2")) {
      parts.push(...body(`Answers ${status}`, answer.content, schemas));
      if (!answer.content) parts.push(element("h4", {}, `Answers ${status} without a body`));
    } else {
      refusals.append(element("dt", {}, status), element("dd", {}, answer.description));
    }
  }
  if (refusals.children.length) parts.push(element("h4", {}, "Refuses with"), refusals);
  return element("article", { id: operation.operationId }, ...parts.filter(Boolean));
}

function schemaArticle(name, schema) {
  return element(
    "article",
    { id: `schema-${name}` },
    element("h3", {}, element("code", {}, name)),
    element("p", {}, schema.description ?? ""),
    fields(schema) ?? element("p", {}, words(schema)),
  );
}

async function show() {
  const main = document.getElementById("paths");
  const response = await fetch("/api/v1/openapi.json");
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  const specification = await response.json();
  const schemas = specification.components.schemas;
  const groups = new Map();
  for (const [path, methods] of Object.entries(specification.paths)) {
    for (const method of METHODS.filter((known) => methods[known])) {
      const operation = methods[method];
      const group = groups.get(operation.tags[0]) ?? [];
      group.push({ path, method, operation });
      groups.set(operation.tags[0], group);
    }
  }
  const contents = element("ul");
  const sections = [];
  for (const [name, operations] of [...groups].sort(([one], [other]) => one.localeCompare(other))) {
    sections.push(element("h2", {}, name));
    for (const { path, method, operation } of operations) {
      sections.push(article(path, method, operation, schemas));
      const link = element("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`);
      contents.append(element("li", {}, link));
    }
  }
  sections.push(element("h2", {}, "Types"));
  sections.push(...Object.entries(schemas).map(([name, schema]) => schemaArticle(name, schema)));
  document.getElementById("about").prepend(`${specification.info.description} `);
  document.getElementById("contents").replaceChildren(contents);
  main.replaceChildren(...sections);
  main.setAttribute("aria-busy", "false");
  // What the address names did not exist when the page was loaded.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show().catch((error) => {
  document.getElementById("status").textContent = `The document cannot be shown: ${error.message}`;
});
