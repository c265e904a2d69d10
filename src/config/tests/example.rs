//! The example file: every setting, each with its default.

use super::*;

/// Settings of serial lines of other kinds than the example's, and without a default.
const SERIAL_LINE: [&str; 10] =
    ["server_name", "pin", "baud", "data_bits", "parity", "stop_bits", "flow", "dtr", "rts", "args"];

/// The example with every setting in force: settings are commented with `#` alone, prose with `# `.
fn example() -> String {
    let text = include_str!("../../../consolegate.example.toml");
    let setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let active = |line: &'static str| line.strip_prefix('#').filter(|rest| setting(rest)).unwrap_or(line);
    // Of the ways to write a secret one can be in force, and files would have to be there.
    let usable = |line: &&str| {
        // And some settings have no default.
        let unset = [
            "openstack_spice",
            "openstack_mks",
            "password = \"opensesa",
            "username = \"console\"",
            "name = \"host1",
            "name = \"console-1",
            "pin",
        ];
        let key = line.split(" = ").next().unwrap_or_default();
        !unset.iter().any(|start| line.starts_with(start))
            && !key.ends_with("_file")
            && !key.ends_with("_env")
            && ![
                "token",
                "file",
                "database",
                "certificate",
                "key",
                "ca",
                "[tls]",
                "[audit]",
                "on_failure",
                "sync",
                "[recording]",
                "directory",
                "record",
                "input",
                "max_age",
                "max_size",
            ]
            .contains(&key)
            && !SERIAL_LINE.contains(&key)
    };
    // And a table that is of no use with the default store, down to the blank line.
    let (before, _, after) = around(text, "#[tokens.redis]\n");
    // And one of lines that are shared, which the example's is not.
    let (between, _, after) = around(after, "#[target.serial_hub]\n");
    let lines = before.lines().chain(between.lines()).chain(after.lines());
    lines.map(active).filter(usable).collect::<Vec<_>>().join("\n")
}

/// What is before a table, in it, and behind its blank line.
fn around<'a>(text: &'a str, table: &str) -> (&'a str, &'a str, &'a str) {
    let (before, rest) = text.split_once(table).expect(table);
    let (inside, after) = rest.split_once("\n\n").expect("a table after it");
    (before, inside, after)
}

#[test]
fn the_examples_hub_in_force_is_the_default() {
    let (_, hub, _) = around(include_str!("../../../consolegate.example.toml"), "#[target.serial_hub]\n");
    let settings: Vec<&str> =
        hub.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(settings.len(), 4);
    let target = "[[target]]\nid = \"a\"\nproject = \"p\"\nserial = \"tcp://h:1\"\nserial_viewers = \"hub\"";
    let text = format!("{target}\n[target.serial_hub]\n{}", settings.join("\n"));
    assert_eq!(parse(&text).unwrap().targets[0].serial_hub, SerialHub::default());
}

#[test]
fn the_example_as_it_is_changes_nothing() {
    let text = include_str!("../../../consolegate.example.toml");
    assert_eq!(comparable(parse(text).unwrap()), comparable(Config::default_local().unwrap()));
}

#[test]
fn the_example_in_force_is_the_defaults() {
    let config = parse(&example()).unwrap();
    let target = config.targets[0].clone();
    assert_eq!((target.id.as_str(), target.name.as_str()), ("47e9be4e-a7b9-471f-92d9-ffc83814e07a", "bm1"));
    let bare = parse("[[target]]\nid = \"a\"\nproject = \"p\"").unwrap().targets.remove(0);
    let named = Target {
        id: target.id.clone(),
        name: target.name.clone(),
        project: target.project.clone(),
        vnc: target.vnc.clone(),
        serial: target.serial.clone(),
        spice: target.spice.clone(),
        mks: target.mks.clone(),
        ..bare
    };
    assert_eq!(target, named);
    let auth = &config.auth;
    assert_eq!(auth.tokens[0].roles, ["member"]);
    assert_eq!(auth.access_keys[0].roles, ["member"]);
    assert_eq!(auth.basic[0].roles, ["member"]);
    assert_eq!(auth.roles, Role::defaults());
    let required = "url = \"http://127.0.0.1:5000/v3\"\nusername = \"consolegate\"\npassword = \"...\"";
    let bare = parse(&format!("[auth.keystone]\n{required}")).unwrap().auth.keystone;
    assert_eq!(format!("{:?}", auth.keystone), format!("{bare:?}"));
    let without = Config { targets: Vec::new(), ..config };
    assert_eq!(comparable(without), comparable(Config::default_local().unwrap()));
}

/// All but the credentials, which differ at each start.
fn comparable(config: Config) -> String {
    let (auth, generated) = (Auth::default(), GeneratedCredentials::default());
    format!("{:?}", Config { auth, generated, admin: Admin::default(), ..config })
}

#[test]
fn the_example_has_every_setting_and_no_other() {
    let text = "[tokens.redis]\n[auth.keystone]\n[[auth.token]]\n[[auth.access_key]]\n[[auth.basic]]\n[[auth.role]]\n[[target]]\n";
    let table = toml::de::DeTable::parse(text).unwrap();
    let document = section::Document::new(Path::new("c.toml"), text, |_| None);
    let root = document.root(table.get_ref());
    file::config(&root, &mut Vec::new());
    root.finish();
    let known = document.asked.borrow().clone();

    let mut section = String::new();
    let mut shown = BTreeSet::new();
    for line in include_str!("../../../consolegate.example.toml").lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            let parents = section.match_indices('.').map(|(at, _)| section[..at].to_owned());
            shown.extend(parents.chain([section.clone()]));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            shown.insert(format!("{section}.{key}"));
        }
    }
    assert_eq!(shown, known);
}
