"""A script as it was written for TRL 1.13; one import has changed, and the test gives the model's and data's names."""

import sys

from datasets import load_dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rewardkit.train.trl import PRMConfig, PRMTrainer  # was: from trl.experimental.prm import PRMConfig, PRMTrainer

MODEL, DATA, OUTPUT = sys.argv[1:]

model = AutoModelForTokenClassification.from_pretrained(MODEL, num_labels=2, ignore_mismatched_sizes=True)
tokenizer = AutoTokenizer.from_pretrained(MODEL)
dataset = load_dataset("json", data_files=DATA, split="train").train_test_split(test_size=0.2, seed=0)

training_args = PRMConfig(
    output_dir=OUTPUT,
    per_device_train_batch_size=8,
    num_train_epochs=8,
    learning_rate=3e-3,
    logging_steps=1,
    eval_strategy="epoch",
    report_to="none",
    max_completion_length=200,
)
trainer = PRMTrainer(
    model=model,
    args=training_args,
    processing_class=tokenizer,
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
)
trainer.train()
metrics = trainer.evaluate()
trainer.save_model(OUTPUT)
print(f"accuracy {metrics['eval_accuracy']:.3f} prior {metrics['eval_prior_accuracy']:.3f}")
print("losses", *(entry["loss"] for entry in trainer.state.log_history if "loss" in entry))
