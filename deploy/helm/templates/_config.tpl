{{/* The run file, and what other templates want to know of it. */}}

{{- define "hiper.runDir" -}}/var/lib/hiper/run{{- end -}}

{{/* Recipe + `config`, before what the chart adds. */}}
{{- define "hiper.givenConfig" -}}
{{- $recipe := dict -}}
{{- if .Values.recipe -}}
{{- $recipe = .Files.Get (printf "recipes/%s.yaml" .Values.recipe) | fromYaml -}}
{{- end -}}
{{- mustMergeOverwrite $recipe (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* The run file as it is mounted. */}}
{{- define "hiper.config" -}}
{{- $config := include "hiper.givenConfig" . | fromYaml -}}
{{- $family := include "hiper.playedFamily" . -}}
{{- with (include "hiper.envFamily" (list . $family) | fromYaml).data -}}
{{- if .existingClaim -}}
{{- $_ := set $config "env" (merge (dict "data" (clean (printf "%s/%s" .mountPath .path))) $config.env) -}}
{{- end -}}
{{- end -}}
{{- if dig "warmstart" "enabled" false $config -}}
{{- $_ := set $config "model" (merge (dict "path" (printf "%s/model" (include "hiper.runDir" .))) (default dict $config.model)) -}}
{{- end -}}
{{- $broker := dict "allow_data_loss" .Values.broker.allowDataLoss -}}
{{- if not .Values.broker.enabled -}}
{{- $broker = dict "assume_settings" .Values.externalBroker.assumeSettings -}}
{{- end -}}
{{- $_ := set $config "broker" (merge (default dict $config.broker) $broker) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The run file of an environment family's pods: `config.env` where the run plays it, the program's defaults otherwise, and the
     family's own settings over them. Nothing else of the run concerns them. Takes [root, family]. */}}
{{- define "hiper.envConfig" -}}
{{- $root := index . 0 -}}
{{- $family := include "hiper.envFamily" . | fromYaml -}}
{{- $config := include "hiper.config" $root | fromYaml -}}
{{- $env := dict -}}
{{- if eq (index . 1) (include "hiper.playedFamily" $root) }}{{ $env = default dict $config.env }}{{ end -}}
{{- with $family.data -}}
{{- if .existingClaim }}{{ $_ := set $env "data" (clean (printf "%s/%s" .mountPath .path)) }}{{ end -}}
{{- end -}}
{{- $env = mustMergeOverwrite $env (deepCopy $family.settings) (dict "name" $family.name) -}}
{{- merge (pick $config "run" "seed") (dict "env" $env) | toYaml -}}
{{- end -}}

{{- define "hiper.run" -}}
{{- dig "run" "run" (include "hiper.givenConfig" . | fromYaml) -}}
{{- end -}}

{{/* Values of an environment family, defaults filled in. Takes [root, family]. */}}
{{- define "hiper.envFamily" -}}
{{- $root := index . 0 -}}
{{- $family := index . 1 -}}
{{- $own := default dict (index $root.Values.env $family) -}}
{{- $merged := mustMergeOverwrite (deepCopy $root.Values.podDefaults) (deepCopy $root.Values.envDefaults) (deepCopy $own) -}}
{{- $_ := set $merged "name" (default $family $merged.name) -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* Families that are deployed, sorted, as {families: [...]}. */}}
{{- define "hiper.envFamilies" -}}
{{- $families := list -}}
{{- range $family := keys .Values.env | sortAlpha -}}
{{- if (include "hiper.envFamily" (list $ $family) | fromYaml).enabled -}}
{{- $families = append $families $family -}}
{{- end -}}
{{- end -}}
{{- dict "families" $families | toYaml -}}
{{- end -}}

{{/* The deployed family that hosts the environment the run plays. */}}
{{- define "hiper.playedFamily" -}}
{{- $name := dig "env" "name" "alfworld" (include "hiper.givenConfig" . | fromYaml) -}}
{{- $found := list -}}
{{- range $family := (include "hiper.envFamilies" . | fromYaml).families -}}
{{- if eq (include "hiper.envFamily" (list $ $family) | fromYaml).name $name -}}
{{- $found = append $found $family -}}
{{- end -}}
{{- end -}}
{{- if ne (len $found) 1 -}}
{{- fail (printf "hiper: the run plays `%s` (config.env.name), and %d enabled families of `env` host it: exactly one must" $name (len $found)) -}}
{{- end -}}
{{- first $found -}}
{{- end -}}

{{/* Values of a component, defaults filled in. Takes [root, component]: rollout, reward, hae, learner, control, broker. */}}
{{- define "hiper.component" -}}
{{- $root := index . 0 -}}
{{- mustMergeOverwrite (deepCopy $root.Values.podDefaults) (deepCopy (index $root.Values (index . 1))) | toYaml -}}
{{- end -}}

{{/* Every component whose number of pods may follow load: {component: values}. */}}
{{- define "hiper.scalable" -}}
{{- $all := dict -}}
{{- range $family := (include "hiper.envFamilies" . | fromYaml).families -}}
{{- $_ := set $all (printf "env-%s" $family) (include "hiper.envFamily" (list $ $family) | fromYaml) -}}
{{- end -}}
{{- range $name := list "rollout" "reward" "hae" -}}
{{- $_ := set $all $name (include "hiper.component" (list $ $name) | fromYaml) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}
