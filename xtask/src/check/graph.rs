//! The resolved dependency graph, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::proc::{cargo, output};

/// One package of the graph.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Ours, or from a registry.
    pub(crate) is_member: bool,
    /// Ids of what it uses to run or to build (not in its tests).
    pub(crate) uses: BTreeSet<String>,
}

/// Packages by cargo's opaque id, with the features that the workspace turns on, for this machine's platform.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
}

impl Graph {
    pub(crate) fn load() -> Result<Self> {
        let host = output(std::process::Command::new("rustc").arg("-vV"))?;
        let host = host
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc -vV names no host")?;
        let text = output(&mut cargo([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            host,
        ]))?;
        Self::parse(&serde_json::from_str(&text)?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let members: BTreeSet<&str> = array(&metadata["workspace_members"])?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut packages = BTreeMap::new();
        for package in array(&metadata["packages"])? {
            let id = text(&package["id"])?;
            packages.insert(
                id.clone(),
                Package {
                    name: text(&package["name"])?,
                    version: text(&package["version"])?,
                    license: package["license"].as_str().map(str::to_owned),
                    is_member: members.contains(id.as_str()),
                    uses: BTreeSet::new(),
                },
            );
        }
        for node in array(&metadata["resolve"]["nodes"])? {
            let id = text(&node["id"])?;
            let mut uses = BTreeSet::new();
            for dependency in array(&node["deps"])? {
                // `kind` is null for a normal dependency, else "build" or "dev".
                let outside_tests = array(&dependency["dep_kinds"])?
                    .iter()
                    .any(|kind| kind["kind"] != "dev");
                if outside_tests {
                    uses.insert(text(&dependency["pkg"])?);
                }
            }
            packages
                .get_mut(&id)
                .with_context(|| format!("{id} has no package"))?
                .uses = uses;
        }
        Ok(Self { packages })
    }

    /// Our package of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&str> {
        self.packages
            .iter()
            .find(|(_, package)| package.is_member && package.name == name)
            .map(|(id, _)| id.as_str())
    }

    /// Everything that is reached from `roots`, them included.
    pub(crate) fn closure<'a>(&'a self, roots: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<&str> = roots.into_iter().collect();
        while let Some(id) = todo.pop() {
            if reached.insert(id)
                && let Some(package) = self.packages.get(id)
            {
                todo.extend(package.uses.iter().map(String::as_str));
            }
        }
        reached
    }

    /// The external packages among those reached from `roots`.
    pub(crate) fn external<'a>(&'a self, roots: impl IntoIterator<Item = &'a str>) -> Vec<&'a Package> {
        self.closure(roots)
            .into_iter()
            .filter_map(|id| self.packages.get(id))
            .filter(|p| !p.is_member)
            .collect()
    }
}

fn array(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .context("cargo metadata has another shape than expected")
}

fn text(value: &Value) -> Result<String> {
    Ok(value
        .as_str()
        .context("cargo metadata has another shape than expected")?
        .to_owned())
}
