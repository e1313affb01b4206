//! A table through a partition: two groups that cannot reach each other go on writing, and agree when
//! they can again.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use peernet::{Config, SyncTable, Value};
use tokio::time::{sleep, timeout};

use super::stage::name;
use crate::failure::Failure;
use crate::style::{Style, readable};

/// Nodes of the table: two on either side.
const NODES: usize = 4;
/// The two between which the partition runs.
const LEFT: usize = 1;
const RIGHT: usize = 2;
/// Nothing here takes longer unless it fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether all agree.
const LOOK: Duration = Duration::from_millis(2);

struct Tables {
    nodes: Vec<SyncTable>,
    style: Style,
}

pub(super) async fn play(style: Style) -> Result<(), Failure> {
    let mut tables = Tables { nodes: Vec::new(), style };
    tables.begin().await?;
    tables.part().await?;
    tables.heal().await?;
    for node in &tables.nodes {
        node.close().await;
    }
    Ok(())
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn missing() -> Failure {
    Failure::failed("the demo has no such node")
}

impl Tables {
    fn node(&self, node: usize) -> Result<&SyncTable, Failure> {
        self.nodes.get(node).ok_or_else(missing)
    }

    fn shown(&self, node: usize) -> String {
        self.style.nth(node, &name(node).to_string())
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        say(&format!(
            "\n{}",
            self.style.bold("6. Four nodes hold one table, and the network breaks in two")
        ))?;
        for node in 0..NODES {
            // Nodes otherwise connect to those that their neighbours name, and nothing would break in two.
            let config = Config { max_outgoing: 0, ..Config::local() };
            // Without leases, either side may write what the other does.
            let builder = SyncTable::builder().subnet("peernet demo").leases(false).config(config);
            self.nodes.push(builder.open().await.map_err(Failure::failed)?);
            if node > 0 {
                self.connect(node, node - 1).await?;
            }
        }
        self.set(0, "colour", "green").await?;
        self.set(3, "shape", "round").await?;
        self.agree("what A and D have set").await?;
        self.show(0, "everyone has")
    }

    async fn connect(&self, from: usize, to: usize) -> Result<(), Failure> {
        let address = self.node(to)?.address().to_string();
        self.node(from)?.connect(&address).await.map_err(Failure::failed)?;
        Ok(())
    }

    async fn set(&self, node: usize, key: &str, value: &str) -> Result<(), Failure> {
        self.node(node)?.set(key, value).await.map_err(Failure::failed)?;
        Ok(())
    }

    async fn part(&self) -> Result<(), Failure> {
        let (left, right) = (self.node(LEFT)?, self.node(RIGHT)?);
        // The one that dialled gives it up; the other hears of it.
        right.disconnect(left.id()).await.map_err(Failure::failed)?;
        self.wait("that the link is gone", || !left.peers().iter().any(|peer| peer.id == *right.id()))
            .await?;
        let picture =
            format!("{} ─── {}   ╳   {} ─── {}", self.shown(0), self.shown(1), self.shown(2), self.shown(3));
        say(&format!("   {picture}"))?;
        self.set(0, "colour", "blue").await?;
        self.set(1, "left", "only here").await?;
        self.set(3, "colour", "red").await?;
        self.node(2)?.delete("shape").await.map_err(Failure::failed)?;
        let has = |node: usize, key: &str, value: Option<&str>| {
            self.nodes.get(node).is_some_and(|table| table.get(key) == value.map(Value::from))
        };
        self.wait("either side agreeing", || {
            has(0, "left", Some("only here"))
                && has(1, "colour", Some("blue"))
                && has(2, "colour", Some("red"))
                && has(3, "shape", None)
        })
        .await?;
        self.show(0, "A and B have  ")?;
        self.show(3, "C and D have  ")
    }

    async fn heal(&self) -> Result<(), Failure> {
        say(
            "   C and B are connected again. They compare what they have, and pass on what the other lacks.",
        )?;
        let healed = Instant::now();
        self.connect(RIGHT, LEFT).await?;
        self.agree("one table again").await?;
        let took = super::show(healed.elapsed());
        self.show(0, &format!("after {took}, {}", self.style.good("everyone has")))?;
        let expected = [("colour", Some("red")), ("left", Some("only here")), ("shape", None)];
        let first = self.node(0)?;
        match expected.iter().all(|(key, value)| first.get(key) == value.map(Value::from)) {
            true => say("   Of the two colours the later one has stayed, and what was deleted is gone."),
            false => Err(Failure::failed("the table is not what was written last")),
        }
    }

    /// Waits until all tables are the same.
    async fn agree(&self, what: &str) -> Result<(), Failure> {
        self.wait(what, || {
            let mut tables = self.nodes.iter().map(items);
            let first = tables.next();
            tables.all(|table| Some(table) == first)
        })
        .await
    }

    async fn wait(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), Failure> {
        let looking = async {
            while !holds() {
                sleep(LOOK).await;
            }
        };
        let waited = timeout(PATIENCE, looking).await;
        waited.map_err(|_| Failure::failed(format!("the tables waited for {what} in vain, for {PATIENCE:?}")))
    }

    fn show(&self, node: usize, whose: &str) -> Result<(), Failure> {
        let item = |(key, value): (String, Value)| format!("{key} = {}", readable(&[value]));
        let items: Vec<String> = items(self.node(node)?).into_iter().map(item).collect();
        say(&format!("   {whose}  {}", items.join(", ")))
    }
}

/// What is in a table, in the order of its keys.
fn items(table: &SyncTable) -> Vec<(String, Value)> {
    let all = table.items().into_iter();
    let mut items: Vec<(String, Value)> =
        all.map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value)).collect();
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    items
}
