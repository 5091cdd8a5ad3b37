//! `access connector`: the connectors of this machine.

mod shipped;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Run;
use super::app::App;
use crate::domain::Malformed;
use crate::domain::binding::{ParameterValue, Parameters};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::provisioning;
use crate::provisioning::{ConnectorView, TrialStep};
use crate::ui::{Column, Fit, Shown, line};

/// List and try the connectors that carry access to other systems
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access connector list
  access connector test orders-pg --login probe role=orders_ro")]
pub struct ConnectorArgs {
    #[command(subcommand)]
    pub verb: ConnectorVerb,
}

#[derive(Debug, Subcommand)]
pub enum ConnectorVerb {
    List(ConnectorListArgs),
    Test(ConnectorTestArgs),
    #[command(flatten)]
    Shipped(shipped::Shipped),
}

/// List the connectors of this machine, and what is wrong with them
#[derive(Debug, Args)]
#[command(
    after_help = "WHERE matters only where several hosts share one log: `leased` is for what the hosts share, and runs on one of them at a \
time. On one host, `leased` and `every-host` do the same."
)]
pub struct ConnectorListArgs {}

/// Try a connector: list, grant and revoke, each twice. Exit 1: something is wrong
#[derive(Debug, Args)]
#[command(after_help = "The login gets the parameters, and loses them again. It must not hold them before.

Example:
  access connector test orders-pg --login probe role=orders_ro")]
pub struct ConnectorTestArgs {
    /// The connector's name in config.toml
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// A login that holds nothing there
    #[arg(long, value_name = "LOGIN", default_value = "nobody")]
    pub login: Login,
    /// Parameters, as a binding names them
    #[arg(value_name = "KEY=VALUE", value_parser = parameter)]
    pub parameters: Vec<(Name, ParameterValue)>,
}

fn parameter(text: &str) -> Result<(Name, ParameterValue), Malformed> {
    let (key, value) = text.split_once('=').ok_or_else(|| Malformed::new("a parameter is written key=value"))?;
    Ok((key.parse()?, value.parse()?))
}

impl Run for ConnectorArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            ConnectorVerb::List(ConnectorListArgs {}) => app.list_connectors(),
            ConnectorVerb::Test(args) => app.test_connector(args),
            ConnectorVerb::Shipped(shipped) => shipped.serve(app),
        }
    }

    fn changes(&self) -> bool {
        !matches!(self.verb, ConnectorVerb::List(_))
    }
}

impl App {
    fn list_connectors(&mut self) -> Result<u8> {
        // Without a database there can be connectors too.
        let views = provisioning::connectors(self.backend().ok())?;
        let mut list = self.printer.list();
        for view in &views {
            list.row(view, &CONNECTORS, || connector_row(view))?;
        }
        if list.end()? == 0 {
            self.printer.status("No connectors are configured: see access-config(5)");
        }
        Ok(0)
    }

    fn test_connector(&mut self, args: ConnectorTestArgs) -> Result<u8> {
        let connector = provisioning::named(&args.name)?;
        let mut parameters = Parameters::new();
        for (key, value) in args.parameters {
            if parameters.insert(key.clone(), value).is_some() {
                return Err(Failure::new(Kind::Usage, format!("the parameter {key} is given twice")).into());
            }
        }
        let now = self.clock;
        let backend = self.backend.get()?;
        let mut list = self.printer.list();
        let tried = provisioning::try_out(backend, &connector, (args.login, parameters), now, &mut |step| {
            list.row(&step, &STEPS, || step_row(&step))
        });
        match tried {
            Ok(well) => {
                list.end()?;
                Ok(u8::from(!well))
            }
            Err(failure) => {
                list.cut_short();
                Err(failure.into())
            }
        }
    }
}

const CONNECTORS: [Column; 6] = [
    Column("NAME", Fit::Whole),
    Column("WHERE", Fit::Drop),
    Column("TIMEOUT", Fit::Drop),
    Column("COMMAND", Fit::Wrap),
    Column("ALLOWS", Fit::Wrap),
    Column("WRONG", Fit::Wrap),
];

fn connector_row(view: &ConnectorView) -> Vec<Shown> {
    let wrong: Vec<String> = view.fault.iter().chain(&view.refused).cloned().collect();
    vec![
        view.name.to_string().into(),
        view.r#where.clone().into(),
        view.timeout.clone().into(),
        line(&view.command.join(" ")).into_owned().into(),
        line(&view.allow.join(", ")).into_owned().into(),
        line(&wrong.join("; ")).into_owned().into(),
    ]
}

const STEPS: [Column; 3] = [Column("STEP", Fit::Whole), Column("RESULT", Fit::Whole), Column("WHY", Fit::Wrap)];

fn step_row(step: &TrialStep) -> Vec<Shown> {
    let why = step.error.as_deref().or(step.note.as_deref()).unwrap_or_default();
    vec![
        step.step.clone().into(),
        if step.ok { "ok" } else { "WRONG" }.to_owned().into(),
        line(why).into_owned().into(),
    ]
}
