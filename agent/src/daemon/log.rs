//! The agent's log: lines on standard error, which systemd takes into the journal with the level that each begins with.

use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is logged, in the words of tracing's filters, such as `debug` or `info,replank_agent::guests=debug`.
const FILTER: &str = "REPLANK_LOG";

/// Logs from now on. A second call changes nothing.
pub fn begin() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // systemd sets it for what writes to the journal, which has a clock and levels of its own.
    let begun = if std::env::var_os("JOURNAL_STREAM").is_some() {
        let plain = Format::default().compact().without_time().with_level(false).with_ansi(false);
        builder.with_ansi(false).event_format(Leveled(plain)).try_init()
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(ansi).try_init()
    };
    // Somebody logs already.
    drop(begun);
}

/// Begins each line with a level as sd-daemon(3) writes it.
struct Leveled(Format<Compact, ()>);

impl<S, N> FormatEvent<S, N> for Leveled
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", number(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
