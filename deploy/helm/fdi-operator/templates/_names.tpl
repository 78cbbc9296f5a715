{{/* Names are fixed, not derived from the release: two operators over the same objects would undo each other. */}}
{{- define "fdi-operator.selector" -}}
app.kubernetes.io/name: fdi-operator
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels as a map, so that no key can occur twice; ours win over commonLabels. */}}
{{- define "fdi-operator.labels" -}}
{{- $ours := include "fdi-operator.selector" . | fromYaml }}
{{- $ours = merge $ours (dict
  "app.kubernetes.io/part-of" "fdi-operator"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" .Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")) }}
{{- toYaml (merge $ours .Values.commonLabels) }}
{{- end }}

{{- define "fdi-operator.podLabels" -}}
{{- $ours := include "fdi-operator.selector" . | fromYaml }}
{{- $ours = merge $ours (dict "app.kubernetes.io/part-of" "fdi-operator") }}
{{- toYaml (merge $ours .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{/* The labels of an object and further ones: (list . labels). Ours win. */}}
{{- define "fdi-operator.labelsWith" -}}
{{- toYaml (merge (include "fdi-operator.labels" (index . 0) | fromYaml) (index . 1)) }}
{{- end }}

{{- define "fdi-operator.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}{{ end }}
{{- end }}

{{/* What the operator needs where it watches. */}}
{{- define "fdi-operator.rules" -}}
- apiGroups: [fdi.romaconnect.dev]
  resources: [fdiinstances]
  verbs: [list, watch]
- apiGroups: [fdi.romaconnect.dev]
  resources: [fditaskgroups]
  verbs: [list, watch, patch]
- apiGroups: [fdi.romaconnect.dev]
  resources: [fdiinstances/status, fditaskgroups/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "fdi-operator.subject" -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* The name of a cluster-scoped object: (list . name). */}}
{{- define "fdi-operator.clusterName" -}}
{{ printf "%s%s" (index . 1) (index . 0).Values.nameSuffix | quote }}
{{- end }}

{{- define "fdi-operator.priorityClass" -}}
{{- if .Values.priorityClass.name }}{{ .Values.priorityClass.name | quote }}
{{- else }}{{ include "fdi-operator.clusterName" (list . "fdi-operator") }}{{ end }}
{{- end }}
