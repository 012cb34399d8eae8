//! The tests of values again, in a process for each of the slower instruction sets.

use crate::{ISA_VARIABLE, instruction_sets};

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn every_instruction_set_computes_the_same() {
    // Both names of the variable.
    for (name, variable) in instruction_sets()
        .into_iter()
        .skip(1)
        .zip([ISA_VARIABLE, "CELLWAY_REGISTERS"])
    {
        for module in ["tests::layers::", "tests::packed::"] {
            let run = std::process::Command::new(std::env::current_exe().unwrap())
                .args([module, "--nocapture"])
                .env_remove(ISA_VARIABLE)
                .env(variable, name)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&run.stdout);
            assert!(
                run.status.success() && !told.contains(" 0 passed"),
                "{name} {module}: {told}"
            );
            let fingerprint = format!("{name}: f32 ");
            assert!(
                module != "tests::layers::" || told.contains(&fingerprint),
                "{told}"
            );
        }
    }
}
