//! `drill`: whether a backup could be restored, with the keys that exist now.

use serde_json::json;

use crate::command::audit;
use crate::failure::Result;
use crate::journal::text;
use crate::report::Report;
use crate::work::Setting;

pub(crate) fn run(setting: &Setting) -> Result<Report> {
    let journal = setting.place.open()?;
    let damage: Vec<_> = journal
        .rows("PRAGMA integrity_check(10)", &[])?
        .iter()
        .filter_map(|row| text(&row[0]))
        .collect();
    let sound = damage == ["ok"];
    let looked = audit::look(setting, &[])?;
    let restorable = sound && looked.unreadable() == 0;
    let mut report = looked.report();
    let verdict = match (sound, restorable) {
        (false, _) => format!("the file is damaged: {}\n", damage.join("; ")),
        (true, true) => {
            "the file is sound and every token opens: it could be restored\n".to_owned()
        }
        (true, false) => "the file is sound, but not every token opens\n".to_owned(),
    };
    report.text.push_str(&verdict);
    report.json["damage"] = if sound { json!([]) } else { json!(damage) };
    report.json["restorable"] = restorable.into();
    report.findings = !restorable;
    Ok(report)
}
